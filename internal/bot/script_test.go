package bot_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
)

// timedDelta is a delta with its time after the question.
type timedDelta struct {
	after time.Duration
	text  string
}

// play returns the reply of a script to a text, without a database.
func play(ctx context.Context, t *testing.T, script bot.Script, text string) ([]timedDelta, bot.Answer, error) {
	t.Helper()
	column, err := json.Marshal(script)
	if err != nil {
		t.Fatal(err)
	}
	chatbot := db.Bot{Engine: bot.EngineScripted, Script: column, UnanswerableReply: "No idea."}
	var deltas []timedDelta
	start := time.Now()
	answer, err := bot.New(nil, scripted).Respond(ctx, bot.Question{Bot: chatbot, Text: text}, func(delta string) error {
		deltas = append(deltas, timedDelta{time.Since(start), delta})
		return nil
	})
	return deltas, answer, err
}

// scriptOf returns a script with one rule.
func scriptOf(rule bot.ScriptRule) bot.Script { return bot.Script{Rules: []bot.ScriptRule{rule}} }

func joined(deltas []timedDelta) string {
	var text strings.Builder
	for _, delta := range deltas {
		text.WriteString(delta.text)
	}
	return text.String()
}

func TestScriptEmitsItsDeltasWithDelays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		suggestions := []bot.Suggestion{{Text: "And then?", Context: "script"}}
		script := scriptOf(bot.ScriptRule{Deltas: []string{"Good ", "", "mor\nning", " 🙂"}, DelayMS: 250, Suggestions: suggestions})
		want := []timedDelta{{250 * time.Millisecond, "Good "}, {750 * time.Millisecond, "mor\nning"}, {time.Second, " 🙂"}}
		for range 2 {
			deltas, answer, err := play(t.Context(), t, script, "Hi")
			if err != nil || !slices.Equal(deltas, want) {
				t.Errorf("got %v, error %v, want %v", deltas, err, want)
			}
			if answer.FinishReason != "stop" || answer.Context != "" || !slices.Equal(answer.Suggestions, suggestions) || len(answer.Citations)+len(answer.Nodes) > 0 {
				t.Errorf("got answer %+v", answer)
			}
		}
	})
}

func TestFirstMatchingRuleAnswers(t *testing.T) {
	t.Parallel()
	script := bot.Script{Rules: []bot.ScriptRule{
		{Match: "Refund", Deltas: []string{"first"}},
		{Match: "退款", Deltas: []string{"second"}},
		{Match: "re", Deltas: []string{"third"}},
	}}
	for text, want := range map[string]string{
		"REFUNDS?": "first", "where is ｒｅｆｕｎｄ": "first", "如何申請退款": "second", "退款 refund": "first", "Really": "third",
		"": "No idea.", "退 款": "No idea.",
	} {
		deltas, answer, err := play(t.Context(), t, script, text)
		if got := joined(deltas); got != want || err != nil || answer.Suggestions == nil {
			t.Errorf("%q: got %q, error %v, want %q", text, got, err, want)
		}
	}
}

func TestRuleWithoutMatchAnswersEverything(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "anything"} {
		if deltas, _, err := play(t.Context(), t, scriptOf(bot.ScriptRule{Deltas: []string{"always"}}), text); joined(deltas) != "always" || err != nil {
			t.Errorf("%q: got %v, error %v", text, deltas, err)
		}
	}
}

func TestScriptFailsOrGoesSilent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		failAfter, silentAfter *int
		want                   string
		kind                   apperr.Kind
		duration               time.Duration
	}{
		"fails at once":             {new(0), nil, "", apperr.UpstreamFailed, 0},
		"fails in the middle":       {new(2), nil, "ab", apperr.UpstreamFailed, 2 * time.Second},
		"fails at the end":          {new(9), nil, "abc", apperr.UpstreamFailed, 3 * time.Second},
		"silent from the start":     {nil, new(0), "", apperr.Timeout, time.Minute},
		"silent in the middle":      {nil, new(1), "a", apperr.Timeout, time.Minute + time.Second},
		"silent at the end":         {nil, new(9), "abc", apperr.Timeout, time.Minute + 3*time.Second},
		"fails before the silence":  {new(1), new(2), "a", apperr.UpstreamFailed, time.Second},
		"silent before the failure": {new(2), new(1), "a", apperr.Timeout, time.Minute + time.Second},
		"both at the same delta":    {new(8), new(7), "abc", apperr.UpstreamFailed, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				deltas, _, err := play(t.Context(), t, scriptOf(bot.ScriptRule{
					Deltas: []string{"a", "b", "c"}, DelayMS: 1000, FailAfter: c.failAfter, SilentAfter: c.silentAfter,
				}), "Hi")
				mustBe(t, err, c.kind)
				if got := joined(deltas); got != c.want || time.Since(start) != c.duration {
					t.Errorf("got %q after %v, want %q after %v", got, time.Since(start), c.want, c.duration)
				}
			})
		})
	}
}

func TestScriptStopsWithItsContext(t *testing.T) {
	t.Parallel()
	errEnough := errors.New("enough")
	for name, rule := range map[string]bot.ScriptRule{
		"in a delay": {Deltas: []string{"a", "b"}, DelayMS: 2000},
		"in silence": {Deltas: []string{"a", "b"}, DelayMS: 100, SilentAfter: new(1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				start := time.Now()
				time.AfterFunc(3*time.Second, func() { cancel(errEnough) })
				deltas, _, err := play(ctx, t, scriptOf(rule), "Hi")
				if !errors.Is(err, errEnough) || joined(deltas) != "a" || time.Since(start) != 3*time.Second {
					t.Errorf("got %v, error %v after %v, want a, the cause of the context after 3s", deltas, err, time.Since(start))
				}
			})
		})
	}
	// The context is also checked if there is no delay.
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errEnough)
	if deltas, _, err := play(ctx, t, scriptOf(bot.ScriptRule{Deltas: []string{"a"}}), "Hi"); err == nil || len(deltas) > 0 {
		t.Errorf("got %v, error %v", deltas, err)
	}
}

func TestScriptStopsWithTheErrorOfEmit(t *testing.T) {
	t.Parallel()
	errGone := errors.New("gone")
	chatbot := db.Bot{Engine: bot.EngineScripted, Script: json.RawMessage(`{"rules":[{"deltas":["a","b"]}]}`)}
	_, err := bot.New(nil, scripted).Respond(t.Context(), bot.Question{Bot: chatbot}, func(string) error { return errGone })
	if !errors.Is(err, errGone) {
		t.Errorf("got error %v, want that of emit", err)
	}
}

func TestScriptedEngineRequiresAScript(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	script := scriptOf(bot.ScriptRule{Match: "hi", Deltas: []string{"Hello"}, FailAfter: new(3)})

	_, err := b.Create(t.Context(), org, bot.NewBot{Name: "x", Engine: bot.EngineScripted})
	mustViolate(t, err, "/script")
	create(t, b, org, bot.NewBot{Name: "x", Slug: "scripted", Engine: bot.EngineScripted, Script: &script})
	_, err = b.Update(t.Context(), org, "scripted", bot.Change{RemovesScript: true})
	mustViolate(t, err, "/script")
	plain := create(t, b, org, bot.NewBot{Name: "x", Slug: "plain"})
	_, err = b.Update(t.Context(), org, "plain", bot.Change{Engine: new(bot.EngineScripted), Name: new("y")})
	mustViolate(t, err, "/script")
	if got, err := b.GetByID(t.Context(), org, plain.ID); err != nil || got.Engine != bot.EngineFAQ || got.Name != "x" || got.Script != nil {
		t.Errorf("got %+v, error %v, want no change", got, err)
	}
}

func TestUpdateKeepsAndRemovesTheScript(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	script := scriptOf(bot.ScriptRule{Match: "hi", Deltas: []string{"Hello"}, FailAfter: new(3)})
	create(t, b, org, bot.NewBot{Name: "x", Slug: "scripted", Engine: bot.EngineScripted, Script: &script})

	changed, err := b.Update(t.Context(), org, "scripted", bot.Change{Engine: new(bot.EngineFAQ)})
	if err != nil || string(changed.Script) != `{"rules":[{"match":"hi","deltas":["Hello"],"failAfter":3}]}` {
		t.Errorf("got script %s, error %v", changed.Script, err)
	}
	changed, err = b.Update(t.Context(), org, "scripted", bot.Change{RemovesScript: true})
	if err != nil || changed.Script != nil {
		t.Errorf("got script %s, error %v, want none", changed.Script, err)
	}
	script = scriptOf(bot.ScriptRule{Deltas: []string{"Now."}})
	changed, err = b.Update(t.Context(), org, "scripted", bot.Change{Engine: new(bot.EngineScripted), Script: &script})
	if err != nil {
		t.Fatal(err)
	}
	if reply := ask(t, b, changed, "Hi"); reply != "Now." {
		t.Errorf("got reply %q", reply)
	}
}

func TestScriptLengthIsBounded(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	half := strings.Repeat("字", 131072)
	rule := bot.ScriptRule{Deltas: []string{half}}
	created := create(t, b, org, bot.NewBot{Name: "x", Script: &bot.Script{Rules: []bot.ScriptRule{rule, rule}}})

	tooLong := &bot.Script{Rules: []bot.ScriptRule{rule, {Deltas: []string{half, "字"}}}}
	_, err := b.Create(t.Context(), org, bot.NewBot{Name: "x", Script: tooLong})
	mustViolate(t, err, "/script/rules/1/deltas")
	_, err = b.Update(t.Context(), org, created.Slug, bot.Change{Script: tooLong})
	mustViolate(t, err, "/script/rules/1/deltas")
}

// mustViolate checks that an error points at one field.
func mustViolate(t *testing.T, err error, pointer string) {
	t.Helper()
	mustBe(t, err, apperr.InvalidRequest)
	if apiErr, ok := errors.AsType[*apperr.Error](err); !ok || len(apiErr.Violations) != 1 || apiErr.Violations[0].Pointer != pointer {
		t.Errorf("got error %v, want one violation at %s", err, pointer)
	}
}
