// Package llm answers questions with a language model on an OpenAI-compatible server.
//
// The model receives the chatbot's instructions, the FAQs that match the question, and the
// conversation so far. The reply is streamed from the server.
package llm

import (
	"context"
	"fmt"
	"net"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/faq"
	"parley/internal/secret"
	"parley/internal/trace"
)

// Engine is bot.EngineOpenAI. It is safe for concurrent use.
type Engine struct {
	faqs   *faq.Engine
	keys   *secret.Keys
	client *client
}

// New returns an engine that retrieves knowledge with faqs and opens API keys with keys. Calls are
// traced unless traces is nil.
func New(faqs *faq.Engine, keys *secret.Keys, traces *trace.Tracer) *Engine {
	c := newClient(new(net.Dialer).DialContext)
	c.traces = traces
	return &Engine{faqs: faqs, keys: keys, client: c}
}

// CheckSettings implements bot.Engine.
func (e *Engine) CheckSettings(chatbot db.Bot) error {
	if chatbot.Model == nil {
		return apperr.Field(apperr.InvalidRequest, "/model", "is required by the engine openai")
	}
	return nil
}

// UsesHistory implements bot.Engine.
func (e *Engine) UsesHistory() bool { return true }

// Calls returns a counter of the calls to model servers for each outcome. Every attempt counts as a
// call.
func (e *Engine) Calls() map[string]func() int64 {
	counters := make(map[string]func() int64, len(e.client.calls))
	for outcome, count := range e.client.calls {
		counters[outcome] = count.Load
	}
	return counters
}

// Respond implements bot.Engine.
func (e *Engine) Respond(ctx context.Context, question bot.Question, emit func(delta string) error) (bot.Answer, error) {
	model, apiKey, matches, err := e.prepare(ctx, question)
	if err != nil {
		return bot.Answer{}, err
	}
	return e.client.respond(ctx, *model, apiKey, question, matches, emit)
}

// respond answers with a model that receives the matching FAQs. A reply without text, for example
// because the model only called a tool or a filter removed everything, becomes the chatbot's reply
// to unanswerable questions.
func (c *client) respond(ctx context.Context, m bot.Model, apiKey string, question bot.Question, matches []faq.Match, emit func(string) error) (bot.Answer, error) {
	knowledge := selectKnowledge(matches)
	answer := faq.NewAnswer(knowledge, matches)
	body, err := requestBody(m, question, knowledge)
	if err != nil {
		return answer, fmt.Errorf("encode the request to the model server: %w", err)
	}
	reply, err := c.complete(ctx, call{
		organizationID: question.Bot.OrganizationID, baseURL: m.BaseURL, model: m.Name, apiKey: apiKey, body: body,
	}, emit)
	if err != nil {
		return answer, err
	}
	answer.FinishReason = reply.finishReason()
	reply.addUsage(&answer, m)
	if reply.size == 0 {
		return answer, bot.EmitText(ctx, bot.UnanswerableReply(question.Bot), emit)
	}
	return answer, nil
}
