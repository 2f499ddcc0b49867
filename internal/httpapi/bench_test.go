package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/internal/reply"
)

// BenchmarkHotDelta writes one delta of a streamed completion.
func BenchmarkHotDelta(b *testing.B) {
	events, err := newCompletionEvents(unread{header: http.Header{}}, &reply.Reply{RunID: uuid.New(), ConversationID: uuid.New(), MessageID: uuid.New()})
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

// unread is a response that is thrown away.
type unread struct{ header http.Header }

func (u unread) Header() http.Header              { return u.header }
func (u unread) Write(data []byte) (int, error)   { return len(data), nil }
func (u unread) WriteHeader(int)                  {}
func (u unread) SetWriteDeadline(time.Time) error { return nil }
