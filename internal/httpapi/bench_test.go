package httpapi

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"parley/internal/chat"
	"parley/internal/metrics"
	"parley/internal/ratelimit"
)

// message is a body of sendMessage as clients send them.
const message = `{"content":"請問如何申請退款？ How do I get my money back?","metadata":{"page":"https://shop.example.com/orders/1","tags":["refund","order"],"n":1.50}}`

// BenchmarkHotContract is what the contract costs a message: all of it but to find out
// who asks, which the database answers.
func BenchmarkHotContract(b *testing.B) {
	contract, err := newContract(nil, ratelimit.New(ratelimit.Limits{Messages: 1 << 40}))
	if err != nil {
		b.Fatal(err)
	}
	at := slices.IndexFunc(contract.operations, func(op *operation) bool { return op.id == "sendMessage" })
	op := *contract.operations[at]
	op.isPublic = true
	server := echo.New()
	path := "/api/conversations/" + uuid.NewString() + "/messages"
	b.ReportAllocs()
	for b.Loop() {
		request := httptest.NewRequest(http.MethodPost, path, strings.NewReader(message))
		request.Header.Set("Content-Type", "application/json")
		ec := server.NewContext(request, unread{header: http.Header{}})
		ec.SetParamNames("id")
		ec.SetParamValues(path[len("/api/conversations/") : len("/api/conversations/")+36])
		if err := contract.enforce(ec, &op); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHotObserve is what goes around every request: its id, the counts and the
// line of the log.
func BenchmarkHotObserve(b *testing.B) {
	requests := metrics.NewRequests(metrics.New())
	observed := &API{Config: Config{Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), Requests: requests}}
	send := requests.Operation("sendMessage", http.MethodPost)
	handler := observed.observe(func(ec echo.Context) error {
		ec.Set(operationKey, send)
		return ec.NoContent(http.StatusCreated)
	})
	server := echo.New()
	request := httptest.NewRequest(http.MethodPost, "/api/conversations/"+uuid.NewString()+"/messages", nil)
	ec := server.NewContext(request, nil)
	b.ReportAllocs()
	for b.Loop() {
		ec.Reset(request, unread{header: http.Header{}}) // as Echo does
		if err := handler(ec); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHotDelta is one piece of a streamed completion.
func BenchmarkHotDelta(b *testing.B) {
	w := unread{header: http.Header{}}
	events, err := newCompletionEvents(w, &chat.Reply{RunID: uuid.New(), ConversationID: uuid.New(), MessageID: uuid.New()})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := events.delta(chat.Position{Attempt: 1, Offset: 1234}, "請問 refund", false); err != nil {
			b.Fatal(err)
		}
	}
}

// unread is an answer that nobody reads.
type unread struct{ header http.Header }

func (u unread) Header() http.Header              { return u.header }
func (u unread) Write(data []byte) (int, error)   { return len(data), nil }
func (u unread) WriteHeader(int)                  {}
func (u unread) SetWriteDeadline(time.Time) error { return nil }
