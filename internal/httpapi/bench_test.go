package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/internal/reply"
)

// BenchmarkHotDelta measures writing one delta of a streamed completion.
func BenchmarkHotDelta(b *testing.B) {
	events, err := newCompletionEvents(discardResponse{header: http.Header{}}, &reply.Reply{RunID: uuid.New(), ConversationID: uuid.New(), MessageID: uuid.New()})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := events.Delta(reply.Position{Attempt: 1, Offset: 1234}, "請問 refund", false); err != nil {
			b.Fatal(err)
		}
	}
}

// discardResponse is a response writer that discards everything.
type discardResponse struct{ header http.Header }

func (w discardResponse) Header() http.Header              { return w.header }
func (w discardResponse) Write(data []byte) (int, error)   { return len(data), nil }
func (w discardResponse) WriteHeader(int)                  {}
func (w discardResponse) SetWriteDeadline(time.Time) error { return nil }
