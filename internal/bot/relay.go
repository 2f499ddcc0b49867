package bot

import (
	"context"
	"encoding/json"
	"fmt"

	"parley/gen/db"
)

// Request is a chat completions request in OpenAI's format, by its fields.
type Request map[string]json.RawMessage

// Relayer is an Engine that passes requests on to a model server.
type Relayer interface {
	Engine

	// Relay passes a request on to the model server, with the chatbot's own instructions. It passes the chunks of the
	// response to emit, as JSON objects in OpenAI's format. Nothing is emitted before the model has begun to reply.
	// Question.Text is the text for the search in the chatbot's knowledge. Contexts, errors and emit have the same
	// rules as in Respond.
	Relay(ctx context.Context, question Question, request Request, emit func(chunk json.RawMessage) error) (Answer, error)
}

// IsRelay reports whether the chatbot's engine passes requests on to a model server.
func (b *Bots) IsRelay(chatbot db.Bot) bool {
	_, ok := b.engines[chatbot.Engine].(Relayer)
	return ok
}

// Relay lets the engine of question.Bot, which must be a Relayer, pass a request on, with the limits
// of Respond.
func (b *Bots) Relay(ctx context.Context, question Question, request Request, emit func(chunk json.RawMessage) error) (Answer, error) {
	return b.call(ctx, question, func(ctx context.Context, engine Engine, onDelta func()) (Answer, error) {
		relayer, ok := engine.(Relayer)
		if !ok {
			return Answer{}, fmt.Errorf("the chatbot's engine %q does not relay requests", question.Bot.Engine)
		}
		return relayer.Relay(ctx, question, request, func(chunk json.RawMessage) error {
			onDelta()
			return emit(chunk)
		})
	})
}
