package bot_test

import (
	"slices"
	"strings"
	"testing"

	"parley/internal/bot"
)

func TestAReplyComesInPieces(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"OK", "Yes.", "請至車站窗口辦理。", strings.Repeat("One sentence after another. ", 20), strings.Repeat("沒有標點", 100),
		"👩‍👩‍👧‍👦👍🏽",
	} {
		pieces := bot.Chunks(text)
		if strings.Join(pieces, "") != text || len(pieces) < 2 {
			t.Errorf("%q came as %q", text, pieces)
		}
		for _, piece := range pieces {
			if n := len([]rune(piece)); n > 40 {
				t.Errorf("a piece of %d characters: %q", n, piece)
			}
		}
	}
	if pieces := bot.Chunks("👩‍👩‍👧‍👦👍🏽"); !slices.Equal(pieces, []string{"👩‍👩‍👧‍👦", "👍🏽"}) {
		t.Errorf("emoji were torn: %q", pieces)
	}
}
