package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"parley/gen/db"
	"parley/internal/apperr"
)

const (
	// maxScripted is how many characters a script's replies may have.
	maxScripted = 262144
	// silenceLimit is how long a reply that has fallen silent is waited for.
	silenceLimit = time.Minute
)

// Script is what a scripted bot says: the first rule that matches a question answers it. It is stored as JSON, in the
// form that the contract gives it.
type Script struct {
	Rules []ScriptRule `json:"rules"`
}

// ScriptRule is how one kind of question is answered. An empty Match matches all. Of FailAfter and SilentAfter the one
// that comes first counts, and FailAfter when they come together; both come after the last delta at the latest.
type ScriptRule struct {
	Match       string       `json:"match,omitempty"`
	Deltas      []string     `json:"deltas"`
	DelayMS     int          `json:"delayMs,omitempty"` // before each delta
	Suggestions []Suggestion `json:"suggestions,omitempty"`
	FailAfter   *int         `json:"failAfter,omitempty"`
	SilentAfter *int         `json:"silentAfter,omitempty"`
}

// toColumn checks a script and makes it what the column holds; without one that is nothing.
func (s *Script) toColumn() (json.RawMessage, error) {
	if s == nil {
		return nil, nil
	}
	length := 0
	for i, rule := range s.Rules {
		for _, delta := range rule.Deltas {
			length += utf8.RuneCountInString(delta)
		}
		if length > maxScripted {
			return nil, apperr.Field(apperr.InvalidRequest, fmt.Sprintf("/script/rules/%d/deltas", i), "must have at most 262144 characters together, with those of the rules before")
		}
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode a script: %w", err)
	}
	return raw, nil
}

// scriptEngine says what the bot's script says, the same each time.
type scriptEngine struct{}

// Respond implements Responder.
func (scriptEngine) Respond(ctx context.Context, question Question, emit func(delta string) error) (Answer, error) {
	rule, ok, err := ruleFor(question.Bot, question.Text)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Citations: []Citation{}, Nodes: []CitationNode{}, Suggestions: []Suggestion{}, FinishReason: "stop"}
	if !ok {
		return answer, stream(ctx, orElse(question.Bot.UnanswerableReply, defaultReply), emit)
	}
	if err := rule.perform(ctx, emit); err != nil {
		return Answer{}, err
	}
	answer.Suggestions = append(answer.Suggestions, rule.Suggestions...)
	return answer, nil
}

// ruleFor finds the first rule that matches a text, if any does.
func ruleFor(owner db.Bot, text string) (ScriptRule, bool, error) {
	var script Script
	if owner.Script != nil {
		if err := json.Unmarshal(owner.Script, &script); err != nil {
			return ScriptRule{}, false, fmt.Errorf("read a stored script: %w", err)
		}
	}
	text = fold(text)
	for _, rule := range script.Rules {
		if strings.Contains(text, fold(rule.Match)) {
			return rule, true, nil
		}
	}
	return ScriptRule{}, false, nil
}

// perform says the deltas, and then fails or falls silent where the rule wants that.
func (r ScriptRule) perform(ctx context.Context, emit func(delta string) error) error {
	end, fails, isSilent := len(r.Deltas), false, false
	if r.SilentAfter != nil {
		end, isSilent = min(*r.SilentAfter, end), true
	}
	if r.FailAfter != nil && min(*r.FailAfter, len(r.Deltas)) <= end {
		end, fails = min(*r.FailAfter, end), true
	}
	for _, delta := range r.Deltas[:end] {
		if err := pause(ctx, time.Duration(r.DelayMS)*time.Millisecond); err != nil {
			return err
		}
		if delta == "" {
			continue
		}
		if err := emit(delta); err != nil {
			return err
		}
	}
	switch {
	case fails:
		return apperr.New(apperr.UpstreamFailed, "The script has the reply fail here.")
	case isSilent:
		if err := pause(ctx, silenceLimit); err != nil {
			return err
		}
		return apperr.New(apperr.Timeout, "The script has had nothing to say for 60 seconds.")
	}
	return nil
}

// pause waits for a while, or until ctx ends, and then returns its cause.
func pause(ctx context.Context, length time.Duration) error {
	if length > 0 {
		timer := time.NewTimer(length)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	return context.Cause(ctx)
}
