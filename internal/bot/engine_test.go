package bot_test

import (
	"testing"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
)

// ask returns the text of the reply to a question.
func ask(t *testing.T, b *bot.Bots, chatbot db.Bot, text string) (reply string) {
	t.Helper()
	_, err := b.Respond(t.Context(), bot.Question{Bot: chatbot, Text: text}, func(delta string) error {
		reply += delta
		return nil
	})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return reply
}

func TestUnregisteredEngineIsAnInternalError(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	chatbot := create(t, b, org, bot.NewBot{Name: "x", Engine: "later"})
	_, err := b.Respond(t.Context(), bot.Question{Bot: chatbot, Text: "Why?"}, func(delta string) error {
		t.Errorf("got delta %q", delta)
		return nil
	})
	mustBe(t, err, apperr.Internal)
}
