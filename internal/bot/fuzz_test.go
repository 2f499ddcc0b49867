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

// Whatever the name: its slug is one that a chatbot may have, and that can be told from an id.
func FuzzSlug(f *testing.F) {
	for _, seed := range []string{"", "Parley", "  Café  crème ", "客服", "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01", strings.Repeat("a-", 100), strings.Repeat("x", 200), "---", "İ", "ǅ", "ﬁ", "½", "a'b", "\xff", "A_B/C", "²"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, name string, unique bool) {
		slug, err := bot.GenerateSlug(name, unique)
		if err != nil || !bot.IsSlug(slug) {
			t.Fatalf("%q becomes %q: %v", name, slug, err)
		}
		if again, err := bot.GenerateSlug(slug, false); err != nil || !unique && again != slug && len(slug) < 50 {
			t.Fatalf("%q becomes %q, and that %q: %v", name, slug, again, err)
		}
	})
}

// A script is kept as it is, and a rule that matches says its deltas up to where it fails.
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
				return // the document refuses it
			}
		}
		stored, err := script.Column()
		if err != nil {
			if !apperr.Is(err, apperr.InvalidRequest) {
				t.Fatalf("%s: %v", raw, err)
			}
			return
		}
		var again bot.Script
		if err := json.Unmarshal(stored, &again); err != nil {
			t.Fatalf("%s is stored as %s: %v", raw, stored, err)
		}
		if twice, err := again.Column(); err != nil || !bytes.Equal(twice, stored) {
			t.Fatalf("%s is stored as %s, and that as %s: %v", raw, stored, twice, err)
		}
		said, ok, err := bot.PlayScript(stored, text)
		if !ok {
			return
		}
		if err != nil && !apperr.Is(err, apperr.UpstreamFailed) {
			t.Fatalf("%s: %v", raw, err)
		}
		for _, rule := range again.Rules { // one of them has said it
			whole := strings.Join(rule.Deltas, "")
			if said == whole || err != nil && rule.FailAfter != nil && strings.HasPrefix(whole, said) {
				return
			}
		}
		t.Fatalf("%s says %q", raw, said)
	})
}

func FuzzPieces(f *testing.F) {
	for _, seed := range []string{"Hi", "a", "", strings.Repeat("答案。", 30), "👩‍👩‍👧‍👦👩‍👩‍👧‍👦", "e\u0301e\u0301", strings.Repeat("a", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		pieces := bot.Chunks(text)
		if strings.Join(pieces, "") != text {
			t.Errorf("%q became %q", text, pieces)
		}
		for _, piece := range pieces {
			if piece == "" || utf8.ValidString(text) && !utf8.ValidString(piece) {
				t.Errorf("%q has the piece %q", text, piece)
			}
		}
	})
}
