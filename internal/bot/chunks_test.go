package bot_test

import (
	"slices"
	"strings"
	"testing"

	"parley/internal/bot"
)

func TestChunks(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"OK", "Yes.", "請至車站窗口辦理。", strings.Repeat("One sentence after another. ", 20), strings.Repeat("沒有標點", 100),
		"👩‍👩‍👧‍👦👍🏽",
	} {
		chunks := bot.Chunks(text)
		if strings.Join(chunks, "") != text || len(chunks) < 2 {
			t.Errorf("%q: got %q", text, chunks)
		}
		for _, chunk := range chunks {
			if n := len([]rune(chunk)); n > 40 {
				t.Errorf("got a chunk of %d characters: %q", n, chunk)
			}
		}
	}
}

func TestChunksKeepGraphemeClusters(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"👩‍👩‍👧‍👦👍🏽":           {"👩‍👩‍👧‍👦", "👍🏽"},
		"🇫🇷🇩🇪":                {"🇫🇷", "🇩🇪"},
		"e\u0301e\u0301":      {"e\u0301", "e\u0301"},
		"\u1112\u1161\u11abx": {"\u1112\u1161\u11ab", "x"},
	} {
		if got := bot.Chunks(text); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
