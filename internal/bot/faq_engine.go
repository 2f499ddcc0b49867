package bot

import (
	"context"

	"parley/internal/store"
)

// filename names the bot's FAQs where a citation names a file.
const filename = "FAQ"

// maxSuggestions is how many further questions are offered.
const maxSuggestions = 3

// faqEngine answers a question out of the bot's FAQs. One that nothing is near to gets the bot's reply to such.
type faqEngine struct {
	store *store.Store
	texts *rememberedTexts
}

// Respond implements Responder.
func (e faqEngine) Respond(ctx context.Context, question Question, emit func(delta string) error) (Answer, error) {
	found, err := e.search(ctx, question)
	if err != nil {
		return Answer{}, err
	}
	answer := cite(nil)
	reply := orElse(question.Bot.UnanswerableReply, defaultReply)
	if len(found) > 0 && found[0].near() {
		reply = found[0].answer
		answer = cite(found[:1])
	}
	answer.Suggestions = suggestions(found, answer.Citations)
	return answer, stream(ctx, reply, emit)
}

// suggestions are the nearest questions but for those that are cited.
func suggestions(found []match, cited []Citation) []Suggestion {
	offered := []Suggestion{}
	said := map[string]bool{}
	for _, c := range cited {
		said[keyOf(c.Question)] = true
	}
	for _, f := range found {
		if key := keyOf(f.question); f.related(found[0]) && !said[key] && len(offered) < maxSuggestions {
			said[key] = true
			offered = append(offered, Suggestion{Text: f.question, Context: "faq"})
		}
	}
	return offered
}

// stream cuts a reply into pieces as a reader would like to see them grow.
func stream(ctx context.Context, reply string, emit func(delta string) error) error {
	for _, piece := range pieces(reply) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := emit(piece); err != nil {
			return err
		}
	}
	return nil
}
