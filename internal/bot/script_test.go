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

// said is a delta and when it came.
type said struct {
	at    time.Duration
	delta string
}

// perform has a script answer without any database, and tells what was said.
func perform(ctx context.Context, t *testing.T, script bot.Script, text string) ([]said, bot.Answer, error) {
	t.Helper()
	raw, err := json.Marshal(script)
	if err != nil {
		t.Fatal(err)
	}
	owner := db.Bot{Engine: bot.EngineScripted, Script: raw, UnanswerableReply: "No idea."}
	var transcript []said
	began := time.Now()
	answer, err := bot.New(nil, scripted).Respond(ctx, bot.Question{Bot: owner, Text: text}, func(delta string) error {
		transcript = append(transcript, said{time.Since(began), delta})
		return nil
	})
	return transcript, answer, err
}

func one(rule bot.ScriptRule) bot.Script { return bot.Script{Rules: []bot.ScriptRule{rule}} }

func TestAScriptIsSaidDeltaByDeltaAtItsPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		offered := []bot.Suggestion{{Text: "And then?", Context: "script"}}
		script := one(bot.ScriptRule{Deltas: []string{"Good ", "", "mor\nning", " 🙂"}, DelayMS: 250, Suggestions: offered})
		want := []said{{250 * time.Millisecond, "Good "}, {750 * time.Millisecond, "mor\nning"}, {time.Second, " 🙂"}}
		for range 2 {
			transcript, answer, err := perform(t.Context(), t, script, "Hi")
			if err != nil || !slices.Equal(transcript, want) {
				t.Errorf("it said %v, %v", transcript, err)
			}
			if answer.FinishReason != "stop" || answer.Context != "" || !slices.Equal(answer.Suggestions, offered) || len(answer.Citations)+len(answer.Nodes) > 0 {
				t.Errorf("%+v", answer)
			}
		}
	})
}

func TestTheFirstRuleThatMatchesAnswers(t *testing.T) {
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
		transcript, answer, err := perform(t.Context(), t, script, text)
		if got := joined(transcript); got != want || err != nil || answer.Suggestions == nil {
			t.Errorf("%q got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "anything"} {
		if transcript, _, err := perform(t.Context(), t, one(bot.ScriptRule{Deltas: []string{"always"}}), text); joined(transcript) != "always" || err != nil {
			t.Errorf("%q got %v, %v", text, transcript, err)
		}
	}
}

func joined(transcript []said) string {
	var text strings.Builder
	for _, one := range transcript {
		text.WriteString(one.delta)
	}
	return text.String()
}

func TestAScriptFailsOrFallsSilentWhereItSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail, silent *int
		want         string
		kind         apperr.Kind
		after        time.Duration
	}{
		"fails at once":             {new(0), nil, "", apperr.UpstreamFailed, 0},
		"fails in the middle":       {new(2), nil, "ab", apperr.UpstreamFailed, 2 * time.Second},
		"fails at the end":          {new(9), nil, "abc", apperr.UpstreamFailed, 3 * time.Second},
		"is silent from the start":  {nil, new(0), "", apperr.Timeout, time.Minute},
		"falls silent":              {nil, new(1), "a", apperr.Timeout, time.Minute + time.Second},
		"falls silent at the end":   {nil, new(9), "abc", apperr.Timeout, time.Minute + 3*time.Second},
		"fails before the silence":  {new(1), new(2), "a", apperr.UpstreamFailed, time.Second},
		"is silent before it fails": {new(2), new(1), "a", apperr.Timeout, time.Minute + time.Second},
		"both at once":              {new(8), new(7), "abc", apperr.UpstreamFailed, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				transcript, _, err := perform(t.Context(), t, one(bot.ScriptRule{
					Deltas: []string{"a", "b", "c"}, DelayMS: 1000, FailAfter: c.fail, SilentAfter: c.silent,
				}), "Hi")
				mustBe(t, err, c.kind)
				if got := joined(transcript); got != c.want || time.Since(began) != c.after {
					t.Errorf("it said %q in %v", got, time.Since(began))
				}
			})
		})
	}
}

func TestAScriptEndsAtOnceWhenItsContextDoes(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]bot.ScriptRule{
		"in a pause": {Deltas: []string{"a", "b"}, DelayMS: 2000},
		"in silence": {Deltas: []string{"a", "b"}, DelayMS: 100, SilentAfter: new(1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				enough := errors.New("enough")
				ctx, cancel := context.WithCancelCause(t.Context())
				began := time.Now()
				time.AfterFunc(3*time.Second, func() { cancel(enough) })
				transcript, _, err := perform(ctx, t, one(rule), "Hi")
				if !errors.Is(err, enough) || joined(transcript) != "a" || time.Since(began) != 3*time.Second {
					t.Errorf("it said %v in %v, %v", transcript, time.Since(began), err)
				}
			})
		})
	}
	// Where there is no pause, the context is looked at all the same, and the listener may end it too.
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if transcript, _, err := perform(ctx, t, one(bot.ScriptRule{Deltas: []string{"a"}}), "Hi"); err == nil || len(transcript) > 0 {
		t.Errorf("it said %v, %v", transcript, err)
	}
	gone := errors.New("gone")
	owner := db.Bot{Engine: bot.EngineScripted, Script: json.RawMessage(`{"rules":[{"deltas":["a","b"]}]}`)}
	if _, err := bot.New(nil, scripted).Respond(t.Context(), bot.Question{Bot: owner}, func(string) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
}

func TestAScriptedBotHasAScript(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	script := one(bot.ScriptRule{Match: "hi", Deltas: []string{"Hello"}, FailAfter: new(3)})

	_, err := b.Create(t.Context(), org, bot.NewBot{Name: "x", Engine: bot.EngineScripted})
	mustBeAt(t, err, "/script")
	made := create(t, b, org, bot.NewBot{Name: "x", Slug: "scripted", Engine: bot.EngineScripted, Script: &script})
	_, err = b.Update(t.Context(), org, made.Slug, bot.Change{RemovesScript: true})
	mustBeAt(t, err, "/script")
	plain := create(t, b, org, bot.NewBot{Name: "x", Slug: "plain"})
	_, err = b.Update(t.Context(), org, plain.Slug, bot.Change{Engine: new(bot.EngineScripted), Name: new("y")})
	mustBeAt(t, err, "/script")
	if got, err := b.GetByID(t.Context(), org, plain.ID); err != nil || got.Engine != bot.EngineFAQ || got.Name != "x" || got.Script != nil {
		t.Errorf("%+v, %v", got, err)
	}

	// It stays when other fields change, and when the engine does.
	changed, err := b.Update(t.Context(), org, made.Slug, bot.Change{Engine: new(bot.EngineFAQ)})
	if err != nil || string(changed.Script) != `{"rules":[{"match":"hi","deltas":["Hello"],"failAfter":3}]}` {
		t.Errorf("%s, %v", changed.Script, err)
	}
	changed, err = b.Update(t.Context(), org, made.Slug, bot.Change{RemovesScript: true})
	if err != nil || changed.Script != nil {
		t.Errorf("%s, %v", changed.Script, err)
	}
	changed, err = b.Update(t.Context(), org, made.Slug, bot.Change{Engine: new(bot.EngineScripted), Script: &bot.Script{Rules: []bot.ScriptRule{{Deltas: []string{"Now."}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if reply := ask(t, b, changed, "Hi"); reply != "Now." {
		t.Errorf("got reply %q", reply)
	}
}

func TestAScriptedReplyIsBounded(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	half := strings.Repeat("字", 131072)
	rule := bot.ScriptRule{Deltas: []string{half}}
	made := create(t, b, org, bot.NewBot{Name: "x", Script: &bot.Script{Rules: []bot.ScriptRule{rule, rule}}})

	tooLong := &bot.Script{Rules: []bot.ScriptRule{rule, {Deltas: []string{half, "字"}}}}
	_, err := b.Create(t.Context(), org, bot.NewBot{Name: "x", Script: tooLong})
	mustBeAt(t, err, "/script/rules/1/deltas")
	_, err = b.Update(t.Context(), org, made.Slug, bot.Change{Script: tooLong})
	mustBeAt(t, err, "/script/rules/1/deltas")
}

func mustBeAt(t *testing.T, err error, pointer string) {
	t.Helper()
	mustBe(t, err, apperr.InvalidRequest)
	if told, ok := errors.AsType[*apperr.Error](err); !ok || len(told.Violations) != 1 || told.Violations[0].Pointer != pointer {
		t.Errorf("%v does not point at %s", err, pointer)
	}
}
