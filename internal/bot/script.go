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
	// maxScriptLength is the number of characters that all replies of a script may have together.
	maxScriptLength = 262144
	// silenceTimeout is how long a reply that has gone silent lasts before it fails.
	silenceTimeout = time.Minute
)

// Script holds the replies of a scripted chatbot. The first rule that matches a question answers
// it. It is stored as JSON, in the form of the API document.
type Script struct {
	Rules []ScriptRule `json:"rules"`
}

// ScriptRule is the reply to one kind of question. Match is a substring of the question; an empty
// Match matches every question. FailAfter and SilentAfter count deltas: the smaller one applies,
// and FailAfter if they are equal. Values beyond the last delta apply after it.
type ScriptRule struct {
	Match       string       `json:"match,omitempty"`
	Deltas      []string     `json:"deltas"`
	DelayMS     int          `json:"delayMs,omitempty"` // before each delta
	Suggestions []Suggestion `json:"suggestions,omitempty"`
	FailAfter   *int         `json:"failAfter,omitempty"`
	SilentAfter *int         `json:"silentAfter,omitempty"`
}

// toColumn checks a script and encodes it for its column. The column of a nil script is nil.
func (s *Script) toColumn() (json.RawMessage, error) {
	if s == nil {
		return nil, nil
	}
	length := 0
	for i, rule := range s.Rules {
		for _, delta := range rule.Deltas {
			length += utf8.RuneCountInString(delta)
		}
		if length > maxScriptLength {
			return nil, apperr.Field(apperr.InvalidRequest, fmt.Sprintf("/script/rules/%d/deltas", i),
				"must have at most 262144 characters, including those of the preceding rules")
		}
	}
	column, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode a script: %w", err)
	}
	return column, nil
}

// Scripted is the engine that replays a chatbot's script. Equal questions get equal replies.
type Scripted struct{}

// CheckSettings implements Engine.
func (Scripted) CheckSettings(chatbot db.Bot) error {
	if chatbot.Script == nil {
		return apperr.Field(apperr.InvalidRequest, "/script", "is required by the engine scripted")
	}
	return nil
}

// UsesHistory implements Engine.
func (Scripted) UsesHistory() bool { return false }

// Respond implements Engine.
func (Scripted) Respond(ctx context.Context, question Question, emit func(delta string) error) (Answer, error) {
	rule, ok, err := matchingRule(question.Bot, question.Text)
	if err != nil {
		return Answer{}, err
	}
	answer := NewAnswer()
	if !ok {
		return answer, EmitText(ctx, UnanswerableReply(question.Bot), emit)
	}
	if err := rule.play(ctx, emit); err != nil {
		return Answer{}, err
	}
	answer.Suggestions = append(answer.Suggestions, rule.Suggestions...)
	return answer, nil
}

// matchingRule returns the first rule of the chatbot's script that matches a text.
func matchingRule(chatbot db.Bot, text string) (rule ScriptRule, ok bool, err error) {
	var script Script
	if chatbot.Script != nil {
		if err := json.Unmarshal(chatbot.Script, &script); err != nil {
			return ScriptRule{}, false, fmt.Errorf("read a stored script: %w", err)
		}
	}
	text = Fold(text)
	for _, rule := range script.Rules {
		if strings.Contains(text, Fold(rule.Match)) {
			return rule, true, nil
		}
	}
	return ScriptRule{}, false, nil
}

// play emits the deltas of the rule, and then fails or goes silent if the rule says so.
func (r ScriptRule) play(ctx context.Context, emit func(delta string) error) error {
	end, fails, isSilent := len(r.Deltas), false, false
	if r.SilentAfter != nil {
		end, isSilent = min(*r.SilentAfter, end), true
	}
	if r.FailAfter != nil && min(*r.FailAfter, len(r.Deltas)) <= end {
		end, fails = min(*r.FailAfter, end), true
	}
	for _, delta := range r.Deltas[:end] {
		if err := sleep(ctx, time.Duration(r.DelayMS)*time.Millisecond); err != nil {
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
		return apperr.New(apperr.UpstreamFailed, "The script makes the reply fail here.")
	case isSilent:
		if err := sleep(ctx, silenceTimeout); err != nil {
			return err
		}
		return apperr.New(apperr.Timeout, "The script has been silent for 60 seconds.")
	}
	return nil
}

// sleep waits for a duration or until ctx is done, and returns context.Cause(ctx).
func sleep(ctx context.Context, duration time.Duration) error {
	if duration > 0 {
		timer := time.NewTimer(duration)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	return context.Cause(ctx)
}
