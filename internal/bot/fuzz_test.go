package bot_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"parley/internal/apperr"
	"parley/internal/bot"
)

// Any name yields a valid slug that does not have the form of an ID.
func FuzzSlug(f *testing.F) {
	for _, seed := range []string{"", "Parley", "  Café  crème ", "客服", "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01", strings.Repeat("a-", 100), strings.Repeat("x", 200), "---", "İ", "ǅ", "ﬁ", "½", "a'b", "\xff", "A_B/C", "²"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, name string, isUnique bool) {
		slug, err := bot.GenerateSlug(name, isUnique)
		if err != nil || !bot.IsSlug(slug) {
			t.Fatalf("%q: got slug %q, error %v", name, slug, err)
		}
		if again, err := bot.GenerateSlug(slug, false); err != nil || !isUnique && again != slug && len(slug) < 50 {
			t.Fatalf("%q: got slug %q, and from that %q, error %v", name, slug, again, err)
		}
	})
}

// A script is stored unchanged. A matching rule replies with the deltas before its failure.
func FuzzScript(f *testing.F) {
	for _, seed := range []string{
		`{"rules":[{"deltas":["One ","moment."],"delayMs":200}]}`, `{"rules":[{"match":"HELLO","deltas":["Hi"]},{"deltas":[]}]}`, `{"rules":[{"deltas":["a","b"],"failAfter":1,"silentAfter":1}]}`, `{"rules":null}`, `{}`,
		`{"rules":[{"match":"","deltas":["\u0000","<&>\u2028"],"suggestions":[{"text":"t","context":"c"}],"failAfter":0}]}`, `{"rules":[{"deltas":["a"],"failAfter":99}]}`,
	} {
		f.Add([]byte(seed), "hello")
	}
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		var script bot.Script
		if json.Unmarshal(raw, &script) != nil {
			return
		}
		for _, rule := range script.Rules {
			if rule.FailAfter != nil && *rule.FailAfter < 0 || rule.SilentAfter != nil && *rule.SilentAfter < 0 {
				return // rejected by the API document
			}
		}
		column, err := script.Column()
		if err != nil {
			if !apperr.Is(err, apperr.InvalidRequest) {
				t.Fatalf("%s: %v", raw, err)
			}
			return
		}
		var again bot.Script
		if err := json.Unmarshal(column, &again); err != nil {
			t.Fatalf("%s: stored as %s, error %v", raw, column, err)
		}
		if second, err := again.Column(); err != nil || !bytes.Equal(second, column) {
			t.Fatalf("%s: stored as %s, and again as %s, error %v", raw, column, second, err)
		}
		reply, ok, err := bot.PlayScript(column, text)
		if !ok {
			return
		}
		if err != nil && !apperr.Is(err, apperr.UpstreamFailed) {
			t.Fatalf("%s: %v", raw, err)
		}
		for _, rule := range again.Rules { // one of the rules has matched
			whole := strings.Join(rule.Deltas, "")
			if reply == whole || err != nil && rule.FailAfter != nil && strings.HasPrefix(whole, reply) {
				return
			}
		}
		t.Fatalf("%s: got reply %q", raw, reply)
	})
}

// Any text is split into non-empty chunks. The chunks of valid UTF-8 are valid UTF-8.
func FuzzChunks(f *testing.F) {
	for _, seed := range []string{"Hi", "a", "", strings.Repeat("答案。", 30), "👩‍👩‍👧‍👦👩‍👩‍👧‍👦", "e\u0301e\u0301", strings.Repeat("a", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		chunks := bot.Chunks(text)
		if strings.Join(chunks, "") != text {
			t.Errorf("%q: got %q", text, chunks)
		}
		for _, chunk := range chunks {
			if chunk == "" || utf8.ValidString(text) && !utf8.ValidString(chunk) {
				t.Errorf("%q: got chunk %q", text, chunk)
			}
		}
	})
}
