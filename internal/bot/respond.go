package bot

import (
	"context"
	"fmt"
	"math"
)

// filename names the bot's FAQs where a citation names a file.
const filename = "FAQ"

// maxSuggestions is how many further questions are offered.
const maxSuggestions = 3

// Respond answers a question out of the bot's FAQs: emit gets the reply in pieces, which joined are the reply, and the
// answer tells what it was made of. A question that nothing is near to gets the bot's reply to such. It ends early with
// the error of emit, or of ctx between two pieces.
func (b *Bots) Respond(ctx context.Context, question Question, emit func(delta string) error) (Answer, error) {
	found, err := b.search(ctx, question.Bot, question.Text)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{
		Citations: []Citation{}, Nodes: []CitationNode{}, Suggestions: []Suggestion{}, FinishReason: "stop",
	}
	reply := orElse(question.Bot.UnanswerableReply, defaultReply)
	if len(found) > 0 && found[0].near() {
		best := found[0]
		found = found[1:]
		reply = best.answer
		answer.Context = best.question + "\n\n" + best.answer
		answer.Citations = append(answer.Citations, Citation{ID: best.id, Filename: filename, Question: best.question})
		answer.Nodes = append(answer.Nodes, CitationNode{
			ChatbotTextNode: TextNode{ID: best.id, Text: best.answer, Filename: filename},
			Score:           best.score,
			DisplayScore:    fmt.Sprintf("%.0f%%", math.Round(best.score*100)),
		})
	}
	answer.Suggestions = suggestions(found, answer.Citations)
	return answer, stream(ctx, reply, emit)
}

// suggestions are the nearest other questions.
func suggestions(found []match, cited []Citation) []Suggestion {
	offered := []Suggestion{}
	said := map[string]bool{}
	for _, c := range cited {
		said[keyOf(c.Question)] = true
	}
	for _, f := range found {
		if key := keyOf(f.question); f.related() && !said[key] && len(offered) < maxSuggestions {
			said[key] = true
			offered = append(offered, Suggestion{Text: f.question, Context: "faq"})
		}
	}
	return offered
}

// stream cuts a reply into pieces as a reader would like to see them grow.
func stream(ctx context.Context, reply string, emit func(delta string) error) error {
	for _, piece := range pieces(reply) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := emit(piece); err != nil {
			return err
		}
	}
	return nil
}
