package openai

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"time"

	"github.com/google/uuid"
	"github.com/oapi-codegen/nullable"

	"parley/gen/openapi"
	"parley/internal/httpapi/eventstream"
	"parley/internal/reply"
)

// RestartedStream returns the stream of a reply that restarts after a text, delta by delta.
func RestartedStream(before string, after ...string) (stream string, err error) {
	w := httptest.NewRecorder()
	events := newEvents(w, "")
	err = events.Delta(reply.Position{}, before, false)
	for i, text := range after {
		if err == nil {
			err = events.Delta(reply.Position{}, text, i == 0)
		}
	}
	if err == nil {
		err = events.Last(reply.Position{}, &reply.Outcome{FinishReason: "stop"})
	}
	return w.Body.String(), err
}

// ChunkOf returns a delta as it is streamed, and as encoding/json encodes the generated type.
func ChunkOf(text, model string) (stream, want string, err error) {
	w := httptest.NewRecorder()
	events := newEvents(w, model)
	encoded, err := json.Marshal(events.toAPIChunk(openapi.ChatDelta{Content: nullable.NewNullableWithValue(text)}, nullable.NewNullNullable[openapi.ChatChunkChoiceFinishReason]()))
	err = errors.Join(err, events.Delta(reply.Position{}, text, false))
	return w.Body.String(), "data: " + string(encoded) + "\n\n", err
}

func newEvents(w *httptest.ResponseRecorder, model string) *chatEvents {
	return &chatEvents{Writer: eventstream.NewWriter(deadlines{w}), completion: completion{id: "chatcmpl-1", reply: &reply.Reply{RunID: uuid.New()}, model: model}}
}

// deadlines is a recorder that accepts write deadlines.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetWriteDeadline(time.Time) error { return nil }
