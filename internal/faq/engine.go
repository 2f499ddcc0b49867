package faq

import (
	"context"
	"fmt"
	"math"
	"strings"

	"parley/gen/db"
	"parley/internal/bot"
	"parley/internal/store"
)

// citedFilename is the filename in citations of FAQs, which have no file.
const citedFilename = "FAQ"

// maxSuggestions is the number of further questions that an answer suggests.
const maxSuggestions = 3

// Engine is bot.EngineFAQ: it answers a question from the chatbot's FAQs. It is safe for concurrent
// use.
type Engine struct {
	store *store.Store
	terms *termCache
}

// NewEngine returns an engine that reads the FAQs stored in s.
func NewEngine(s *store.Store) *Engine { return &Engine{store: s, terms: &termCache{}} }

// CheckSettings implements bot.Engine.
func (e *Engine) CheckSettings(db.Bot) error { return nil }

// UsesHistory implements bot.Engine.
func (e *Engine) UsesHistory() bool { return false }

// Respond implements bot.Engine. A question without an FAQ that answers it gets the chatbot's reply
// to unanswerable questions, and possibly suggestions.
func (e *Engine) Respond(ctx context.Context, question bot.Question, emit func(delta string) error) (bot.Answer, error) {
	matches, err := e.Search(ctx, question)
	if err != nil {
		return bot.Answer{}, err
	}
	reply, cited := bot.UnanswerableReply(question.Bot), []Match(nil)
	if len(matches) > 0 && matches[0].IsAnswer() {
		reply, cited = matches[0].Answer, matches[:1]
	}
	return NewAnswer(cited, matches), bot.EmitText(ctx, reply, emit)
}

// NewAnswer returns an answer that is based on the cited matches and suggests the questions of
// others. The matches are ordered best first.
func NewAnswer(cited, matches []Match) bot.Answer {
	answer := bot.NewAnswer()
	texts := make([]string, 0, len(cited))
	seen := map[string]bool{}
	for _, m := range cited {
		seen[questionKey(m.Question)] = true
		texts = append(texts, m.Question+"\n\n"+m.Answer)
		answer.Citations = append(answer.Citations, bot.Citation{ID: m.ID, Filename: citedFilename, Question: m.Question})
		answer.Nodes = append(answer.Nodes, bot.CitationNode{
			ChatbotTextNode: bot.TextNode{ID: m.ID, Text: m.Answer, Filename: citedFilename},
			Score:           m.Score,
			DisplayScore:    fmt.Sprintf("%.0f%%", math.Round(m.Score*100)),
		})
	}
	answer.Context = strings.Join(texts, "\n\n")
	for _, m := range matches {
		if key := questionKey(m.Question); m.IsRelated(matches[0]) && !seen[key] && len(answer.Suggestions) < maxSuggestions {
			seen[key] = true
			answer.Suggestions = append(answer.Suggestions, bot.Suggestion{Text: m.Question, Context: "faq"})
		}
	}
	return answer
}
