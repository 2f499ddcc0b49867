package openai

import (
	"context"
	"errors"
	"net/http"

	"github.com/oapi-codegen/nullable"

	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/httpapi/eventstream"
	"parley/internal/reply"
)

// chatStream is a response that streams a reply as chat.completion.chunk events.
type chatStream struct {
	ctx           context.Context //nolint:containedctx // generated code writes the response without a context
	completion    completion
	includesUsage bool
}

// VisitCreateChatCompletionResponse writes the events.
func (s chatStream) VisitCreateChatCompletionResponse(w http.ResponseWriter) error {
	reply := s.completion.reply
	if reply.IsStored() {
		w.Header().Set("X-Run-Id", reply.RunID.String())
	}
	events := &chatEvents{Writer: eventstream.NewWriter(w), completion: s.completion, includesUsage: s.includesUsage}
	if err := events.begin(); err != nil {
		return err
	}
	return eventstream.Run(s.ctx, reply, reply.Start(), events)
}

// chatEvents writes a reply as chunks. Chunks that were sent cannot be replaced. The text of a restarted reply must
// therefore begin with the text that was already written, which is not written again.
type chatEvents struct {
	eventstream.Writer
	completion    completion
	includesUsage bool
	delta         *eventstream.Frame // created with the first delta
	written       []byte             // the text in all chunks so far
	at            int                // the length of the reply; less than len(written) after a restart
}

var errDiverged = apperr.New(apperr.Unavailable, "The reply was restarted and differs from the text sent so far. Retry the request.")

// begin writes the chunk with the role.
func (e *chatEvents) begin() error {
	return e.writeChunk(openapi.ChatDelta{Role: new(openapi.ChatDeltaRoleAssistant), Content: nullable.NewNullableWithValue("")}, nullable.NewNullNullable[openapi.ChatChunkChoiceFinishReason]())
}

// Delta implements eventstream.Events.
func (e *chatEvents) Delta(_ reply.Position, text string, isReset bool) error {
	if isReset {
		e.at = 0
	}
	repeated := min(len(e.written)-e.at, len(text))
	if string(e.written[e.at:e.at+repeated]) != text[:repeated] {
		return errors.Join(errDiverged, e.fail(errDiverged), e.Flush())
	}
	e.at += len(text)
	if text = text[repeated:]; text == "" {
		return nil
	}
	e.written = append(e.written, text...)
	if e.delta == nil {
		frame, err := eventstream.NewFrame(e.toAPIChunk(openapi.ChatDelta{Content: nullable.NewNullableWithValue("")}, nullable.NewNullNullable[openapi.ChatChunkChoiceFinishReason]()))
		if err != nil {
			return err
		}
		e.delta = &frame
	}
	return e.WriteText("", *e.delta, text)
}

// Last implements eventstream.Events.
func (e *chatEvents) Last(_ reply.Position, outcome *reply.Outcome) error {
	switch {
	case outcome.Err != nil:
		return e.fail(outcome.Err)
	case e.at < len(e.written):
		return e.fail(errDiverged)
	}
	reason := toAPIFinishReason(outcome)
	if err := e.writeChunk(openapi.ChatDelta{}, nullable.NewNullableWithValue(openapi.ChatChunkChoiceFinishReason(reason))); err != nil {
		return err
	}
	if usage := toAPIUsage(outcome.Answer); e.includesUsage && usage.IsSpecified() {
		chunk := e.completion.toAPIChunk()
		chunk.Usage = usage
		if err := e.Write("", chunk); err != nil {
			return err
		}
	}
	return e.Print([]byte("data: [DONE]\n\n"))
}

func (e *chatEvents) writeChunk(delta openapi.ChatDelta, reason nullable.Nullable[openapi.ChatChunkChoiceFinishReason]) error {
	return e.Write("", e.toAPIChunk(delta, reason))
}

func (e *chatEvents) toAPIChunk(delta openapi.ChatDelta, reason nullable.Nullable[openapi.ChatChunkChoiceFinishReason]) openapi.ChatCompletionChunk {
	chunk := e.completion.toAPIChunk()
	chunk.Choices = append(chunk.Choices, openapi.ChatChunkChoice{
		Delta: delta, Logprobs: nullable.NewNullNullable[map[string]any](), FinishReason: reason,
	})
	return chunk
}

func (e *chatEvents) fail(appErr *apperr.Error) error { return e.Write("", ErrorOf(appErr)) }
