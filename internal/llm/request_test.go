package llm_test

import (
	"encoding/json"
	"io"
	"log"
	"reflect"
	"strings"
	"testing"

	"parley/gen/db"
	"parley/internal/bot"
	"parley/internal/llm"
)

var discardLog = log.New(io.Discard, "", 0)

func asker(text string) bot.Turn { return bot.Turn{IsAsker: true, Text: text} }
func other(text string) bot.Turn { return bot.Turn{Text: text} }

func TestRequestMessages(t *testing.T) {
	t.Parallel()
	image := bot.Attachment{Type: "image", Filename: "cat.png", File: "https://files.test/cat.png"}
	report := bot.Attachment{Type: "other", Filename: "a \"b\".pdf", File: "https://files.test/b.pdf"}
	long := strings.Repeat("字", 100)
	cases := map[string]struct {
		question bot.Question
		tokens   int
		want     string
	}{
		"question": {bot.Question{Text: "Hello?"}, 100, `[{"role":"user","content":"Hello?"}]`},
		"instructions": {
			bot.Question{Bot: db.Bot{Instructions: " Be brief. "}, Text: "Hello?"},
			100,
			`[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello?"}]`,
		},
		"history": {
			bot.Question{Text: "And?", History: []bot.Turn{asker("One?"), other("1"), asker("Two?"), other("2")}},
			100,
			`[{"role":"user","content":"One?"},{"role":"assistant","content":"1"},{"role":"user","content":"Two?"},{"role":"assistant","content":"2"},{"role":"user","content":"And?"}]`,
		},
		"history beyond the token limit": {
			bot.Question{Text: "And?", History: []bot.Turn{asker("One?"), other(long), asker("Two?"), other("2")}},
			50,
			`[{"role":"user","content":"Two?"},{"role":"assistant","content":"2"},{"role":"user","content":"And?"}]`,
		},
		"reply whose question is beyond the token limit": {
			bot.Question{Text: "And?", History: []bot.Turn{asker(long), other("1"), asker("Two?"), other("2")}},
			50,
			`[{"role":"user","content":"Two?"},{"role":"assistant","content":"2"},{"role":"user","content":"And?"}]`,
		},
		"no history tokens": {
			bot.Question{Text: "And?", History: []bot.Turn{asker("One?"), other("1")}}, 0, `[{"role":"user","content":"And?"}]`,
		},
		"consecutive turns of one speaker": {
			bot.Question{Text: "And?", History: []bot.Turn{other("Hi!"), asker("One?"), asker("Two?"), other("2"), other("3"), asker("Four?")}},
			100,
			`[{"role":"user","content":"One?\n\nTwo?"},{"role":"assistant","content":"2\n\n3"},{"role":"user","content":"Four?\n\nAnd?"}]`,
		},
		"empty turns": {
			bot.Question{Text: "And?", History: []bot.Turn{asker("One?"), other(" "), asker("")}},
			100,
			`[{"role":"user","content":"One?\n\nAnd?"}]`,
		},
		"image": {
			bot.Question{Text: "What is it?", Attachments: []bot.Attachment{image}},
			100,
			`[{"role":"user","content":[{"type":"text","text":"What is it?"},{"type":"image_url","image_url":{"url":"https://files.test/cat.png"}}]}]`,
		},
		"image without text": {
			bot.Question{Attachments: []bot.Attachment{image}},
			100,
			`[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://files.test/cat.png"}}]}]`,
		},
		"other attachment": {
			bot.Question{Text: "Look.", Attachments: []bot.Attachment{report}},
			100,
			`[{"role":"user","content":"Look.\n[attached: other \"a \\\"b\\\".pdf\"]"}]`,
		},
		"attachments in the history": {
			bot.Question{Text: "And?", History: []bot.Turn{{IsAsker: true, Attachments: []bot.Attachment{image}}, other("A cat.")}},
			100,
			`[{"role":"user","content":"[attached: image \"cat.png\"]"},{"role":"assistant","content":"A cat."},{"role":"user","content":"And?"}]`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withServer(t, goodReply, func(t *testing.T, f *fixture) {
				f.model.HistoryTokens = c.tokens
				if got := f.askQuestion(t.Context(), c.question); got.err != nil {
					t.Fatal(got.err)
				}
				if got := string(f.requests()[0].body["messages"]); !equalJSON(t, got, c.want) {
					t.Errorf("got messages %s", got)
				}
			})
		})
	}
}

func TestParametersCannotOverrideParley(t *testing.T) {
	t.Parallel()
	withServer(t, goodReply, func(t *testing.T, f *fixture) {
		f.model.Temperature = new(0.5)
		f.model.Parameters = map[string]json.RawMessage{
			"max_tokens": json.RawMessage(`100`), "stop": json.RawMessage(`["\n"]`), "temperature": json.RawMessage(`2`),
			// such a value is rejected when a chatbot is saved, and ignored here
			"stream": json.RawMessage(`false`), "model": json.RawMessage(`"large"`), "messages": json.RawMessage(`[]`),
		}
		if got := f.ask(); got.err != nil {
			t.Fatal(got.err)
		}
		body := f.requests()[0].body
		for name, want := range map[string]string{
			"max_tokens": `100`, "stop": `["\n"]`, "temperature": `0.5`, "stream": `true`, "model": `"small"`,
			"messages": `[{"role":"user","content":"Hello?"}]`, "stream_options": `{"include_usage":true}`,
		} {
			if got := string(body[name]); !equalJSON(t, got, want) {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
		if len(body) != 7 {
			t.Errorf("got %d fields, want 7", len(body))
		}
	})
}

func TestEstimateTokens(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, "a": 1, "abcd": 1, "abcde": 2, "您好": 2, "您好 ab": 3, "カタカナ": 4, "한국어": 3, "𠀋": 1, "，": 1} {
		if got := llm.EstimateTokens(text); got != want {
			t.Errorf("%q: got %d tokens, want %d", text, got, want)
		}
	}
}

func equalJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return reflect.DeepEqual(x, y)
}
