package httpapi

import (
	"errors"
	"net/http"

	"github.com/oapi-codegen/nullable"

	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/chat"
)

// chatStream answers with a reply as it is written, as OpenAI's API does.
type chatStream struct {
	replyStream
	answer        chatAnswer
	includesUsage bool
}

// VisitCreateChatCompletionResponse writes the events.
func (s chatStream) VisitCreateChatCompletionResponse(w http.ResponseWriter) error {
	if s.reply.IsKept() {
		w.Header().Set("X-Run-Id", s.reply.RunID.String())
	}
	events := &chatEvents{eventWriter: beginEvents(w), answer: s.answer, includesUsage: s.includesUsage}
	if err := events.begin(); err != nil {
		return err
	}
	return s.follow(events)
}

// chatEvents tells a reply in chat.completion.chunks. What was told cannot be taken
// back: a reply that begins anew is told from where it says more than before.
type chatEvents struct {
	eventWriter
	answer        chatAnswer
	includesUsage bool
	grown         *frame // made at the first delta
	told          []byte
	at            int // how much of the reply is there; less than was told while it is written anew
}

var errAnew = apperr.New(apperr.Unavailable, "The reply has begun anew and says something else; ask again.")

// begin tells who speaks.
func (e *chatEvents) begin() error {
	return e.chunk(openapi.ChatDelta{Role: new(openapi.ChatDeltaRoleAssistant), Content: new("")}, nullable.NewNullNullable[string]())
}

func (e *chatEvents) delta(_ chat.Position, text string, isReset bool) error {
	if isReset {
		e.at = 0
	}
	known := min(len(e.told)-e.at, len(text))
	if string(e.told[e.at:e.at+known]) != text[:known] {
		return errors.Join(errAnew, e.fail(errAnew), e.flush())
	}
	e.at += len(text)
	if text = text[known:]; text == "" {
		return nil
	}
	e.told = append(e.told, text...)
	if e.grown == nil {
		made, err := frameOf(e.toAPIChunk(openapi.ChatDelta{Content: new("")}, nullable.NewNullNullable[string]()))
		if err != nil {
			return err
		}
		e.grown = &made
	}
	return e.writeText("", *e.grown, text)
}

func (e *chatEvents) last(_ chat.Position, outcome *chat.Outcome) error {
	switch {
	case outcome.Err != nil:
		return e.fail(outcome.Err)
	case e.at < len(e.told):
		return e.fail(errAnew)
	}
	reason := string(toAPIFinishReason(outcome))
	if err := e.chunk(openapi.ChatDelta{}, nullable.NewNullableWithValue(reason)); err != nil {
		return err
	}
	if e.includesUsage {
		chunk := e.answer.toAPIChunk()
		chunk.Usage = new(toAPIChatUsage(outcome.Answer))
		if err := e.write("", chunk); err != nil {
			return err
		}
	}
	return e.print([]byte("data: [DONE]\n\n"))
}

func (e *chatEvents) chunk(delta openapi.ChatDelta, reason nullable.Nullable[string]) error {
	return e.write("", e.toAPIChunk(delta, reason))
}

func (e *chatEvents) toAPIChunk(delta openapi.ChatDelta, reason nullable.Nullable[string]) openapi.ChatCompletionChunk {
	chunk := e.answer.toAPIChunk()
	chunk.Choices = append(chunk.Choices, openapi.ChatChunkChoice{
		Delta: delta, Logprobs: nullable.NewNullNullable[map[string]any](), FinishReason: reason,
	})
	return chunk
}

func (e *chatEvents) fail(why *apperr.Error) error { return e.write("", openAIErrorOf(why)) }
