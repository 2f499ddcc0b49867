package bot

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"parley/internal/apperr"
	"parley/internal/secret"
)

// openAIEngine is EngineOpenAI. The search is that of the FAQs.
type openAIEngine struct {
	faqs    faqEngine
	keys    *secret.Keys
	servers *modelServers
}

// Respond implements Responder.
func (e openAIEngine) Respond(ctx context.Context, question Question, emit func(delta string) error) (Answer, error) {
	model, err := ModelOf(question.Bot)
	if err != nil {
		return Answer{}, err
	}
	if model == nil {
		return Answer{}, errors.New("the chatbot has no model")
	}
	apiKey, err := openKey(question.Bot, e.keys)
	if err != nil {
		return Answer{}, apperr.Wrap(apperr.Internal, "The chatbot's API key for the model server cannot be read; it must be set again.", err)
	}
	found, err := e.faqs.search(ctx, question)
	if err != nil {
		return Answer{}, err
	}
	return e.respond(ctx, *model, apiKey, question, found, emit)
}

// respond answers by a model, with what was found to know. A reply without any text, as of a model that calls a tool or
// is cut off by a filter, is the bot's reply to what it cannot answer.
func (e openAIEngine) respond(ctx context.Context, m Model, apiKey string, question Question, found []match, emit func(string) error) (Answer, error) {
	known := knowledge(found)
	answer := cite(known)
	answer.Suggestions = suggestions(found, answer.Citations)
	body, err := requestBody(m, question, known)
	if err != nil {
		return answer, fmt.Errorf("make the request to the model server: %w", err)
	}
	asked := call{organizationID: question.Bot.OrganizationID, baseURL: m.BaseURL, model: m.Name, apiKey: apiKey, body: body}
	done, err := e.servers.complete(ctx, asked, emit)
	if err != nil {
		return answer, err
	}
	answer.FinishReason = done.finishReason()
	answer.PromptTokens, answer.CompletionTokens = done.promptTokens, done.completionTokens
	if done.size == 0 {
		return answer, stream(ctx, orElse(question.Bot.UnanswerableReply, defaultReply), emit)
	}
	return answer, nil
}

// cite makes an answer's references of the entries that the model was given.
func cite(known []match) Answer {
	answer := Answer{Citations: []Citation{}, Nodes: []CitationNode{}, Suggestions: []Suggestion{}, FinishReason: "stop"}
	texts := make([]string, 0, len(known))
	for _, entry := range known {
		texts = append(texts, entry.question+"\n\n"+entry.answer)
		answer.Citations = append(answer.Citations, Citation{ID: entry.id, Filename: filename, Question: entry.question})
		answer.Nodes = append(answer.Nodes, CitationNode{
			ChatbotTextNode: TextNode{ID: entry.id, Text: entry.answer, Filename: filename},
			Score:           entry.score,
			DisplayScore:    fmt.Sprintf("%.0f%%", math.Round(entry.score*100)),
		})
	}
	answer.Context = strings.Join(texts, "\n\n")
	return answer
}
