// Package llm answers questions with a language model on an OpenAI-compatible server.
//
// The model receives the chatbot's instructions, the FAQs that match the question, and the
// conversation so far. The reply is streamed from the server.
package llm

import (
	"context"
	"errors"
	"fmt"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/egress"
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
func New(faqs *faq.Engine, keys *secret.Keys, traces *trace.Tracer, networks egress.Networks) *Engine {
	c := newClient(networks.Dialer().DialContext)
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

// respond answers with a model that receives the matching FAQs. If the server rejects a request, it is sent again in
// a shape that the server may accept, or with less of the history and the knowledge. A reply without text, for
// example because a filter removed everything, becomes the chatbot's reply to unanswerable questions.
func (c *client) respond(ctx context.Context, m bot.Model, apiKey string, question bot.Question, matches []faq.Match, emit func(string) error) (bot.Answer, error) {
	patience := timeoutsOf(m)
	ctx, cancel := context.WithTimeoutCause(ctx, patience.total, errTooLong)
	defer cancel()
	asked := shapeOf(m)
	id := modelID{serverID{question.Bot.OrganizationID, m.BaseURL}, m.Name, asked}
	asking := asking{m, question, matches}
	next := c.shapes.of(id)
	body, answer, err := asking.request(next)
	for err == nil {
		sent := next
		var reply *completion
		reply, err = c.complete(ctx, call{
			organizationID: question.Bot.OrganizationID, baseURL: m.BaseURL, model: m.Name, apiKey: apiKey, body: body, shape: sent, timeouts: patience,
		}, emit)
		if err == nil {
			c.shapes.learn(id, sent)
			err = finishAnswer(ctx, &answer, m, question, reply, emit)
			return answer, err
		}
		if reply != nil {
			reply.addUsage(&answer, m) // the server may charge for a reply that was not completed
		}
		callErr, ok := errors.AsType[*callError](err)
		switch {
		case !ok:
			return answer, err
		case callErr.adapted != nil:
			next = *callErr.adapted
			body, answer, err = asking.request(next)
		case callErr.isOverflow:
			var isSmaller bool
			if next, body, answer, isSmaller = asking.shrink(sent, body, answer); !isSmaller {
				return answer, callErr.apiErr
			}
			err = nil
		default:
			return answer, callErr.apiErr
		}
	}
	return answer, fmt.Errorf("encode the request to the model server: %w", err)
}

func finishAnswer(ctx context.Context, answer *bot.Answer, m bot.Model, question bot.Question, reply *completion, emit func(string) error) error {
	answer.FinishReason = reply.finishReason()
	reply.addUsage(answer, m)
	if reply.size == 0 {
		return bot.EmitText(ctx, bot.UnanswerableReply(question.Bot), emit)
	}
	return nil
}

// asking is a question with all inputs of its requests.
type asking struct {
	model    bot.Model
	question bot.Question
	matches  []faq.Match
}

// request returns the body of a request in a shape, and the basis of the answer.
func (a asking) request(s shape) (body []byte, answer bot.Answer, err error) {
	knowledge := selectKnowledge(a.matches, windows[s.window])
	body, err = requestBody(a.model, a.question, knowledge, s)
	return body, faq.NewAnswer(knowledge, a.matches), err
}

// shrink returns the next smaller request. It reports false if there is none.
func (a asking) shrink(s shape, body []byte, answer bot.Answer) (shape, []byte, bot.Answer, bool) {
	for s.window++; s.window < len(windows); s.window++ {
		smaller, basis, err := a.request(s)
		if err == nil && len(smaller) < len(body) {
			return s, smaller, basis, true
		}
	}
	return s, body, answer, false
}
