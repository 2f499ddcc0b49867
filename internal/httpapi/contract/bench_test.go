package contract

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"parley/internal/metrics"
	"parley/internal/ratelimit"
)

// message is a typical body of sendMessage.
const message = `{"content":"請問如何申請退款？ How do I get my money back?","metadata":{"page":"https://shop.example.com/orders/1","tags":["refund","order"],"n":1.50}}`

// BenchmarkHotContract enforces the contract on a message, without authentication, which asks the database.
func BenchmarkHotContract(b *testing.B) {
	contract, err := New(Config{Limiter: ratelimit.New(ratelimit.Limits{Messages: 1 << 40})})
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
		ec := server.NewContext(request, discard{header: http.Header{}})
		ec.SetParamNames("id")
		ec.SetParamValues(path[len("/api/conversations/") : len("/api/conversations/")+36])
		if err := contract.enforce(ec, &op); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHotObserve runs the outermost middleware: request ID, metrics and access log.
func BenchmarkHotObserve(b *testing.B) {
	requests := metrics.NewRequests(metrics.New())
	observer := observer{log: slog.New(slog.NewJSONHandler(io.Discard, nil)), requests: requests}
	send := requests.Operation("sendMessage", http.MethodPost)
	handler := observer.observe(func(ec echo.Context) error {
		ec.Set(operationKey, send)
		return ec.NoContent(http.StatusCreated)
	})
	server := echo.New()
	request := httptest.NewRequest(http.MethodPost, "/api/conversations/"+uuid.NewString()+"/messages", nil)
	ec := server.NewContext(request, nil)
	b.ReportAllocs()
	for b.Loop() {
		ec.Reset(request, discard{header: http.Header{}}) // as Echo does
		if err := handler(ec); err != nil {
			b.Fatal(err)
		}
	}
}

// discard is a response that is thrown away.
type discard struct{ header http.Header }

func (d discard) Header() http.Header            { return d.header }
func (d discard) Write(data []byte) (int, error) { return len(data), nil }
func (d discard) WriteHeader(int)                {}
