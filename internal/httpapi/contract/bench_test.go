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

// BenchmarkHotContract enforces the contract on a message. It excludes authentication, which queries the database.
func BenchmarkHotContract(b *testing.B) {
	enforce := enforcer(b, "sendMessage", "id")
	b.ReportAllocs()
	for b.Loop() {
		if err := enforce(message); err != nil {
			b.Fatal(err)
		}
	}
}

// largest are bodies of the maximum length, or of the maximum number of values.
var largest = map[string]string{
	"unknown values":   `{"content":"Hi","zzz":[` + strings.Repeat("0,", 49_990) + `0]}`,
	"unknown text":     `{"content":"Hi","zzz":"` + strings.Repeat("x", maxJSON-40) + `"}`,
	"free objects":     `{"content":"Hi","metadata":{"a":[` + strings.Repeat(`{"a":"bcdefgh"},`, 24_900) + `0]}}`,
	"attachments":      `{"content":"Hi","attachments":[` + strings.Repeat(`{},`, 49_900) + `{}]}`,
	"checked objects":  `{"message":{"content":"Hi","queryMetadata":{"knowledge_bases":[` + strings.Repeat(`{"knowledge_base_id":"x"},`, 24_900) + `{}]}}}`,
	"checked texts":    `{"message":{"content":"Hi","queryMetadata":{"knowledge_bases":[{"faq_ids":[` + strings.Repeat(`"019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e00",`, 26_000) + `"x"]}]}}}`,
	"checked mistakes": `{"message":{"content":"Hi","queryMetadata":{"knowledge_bases":[{"faq_ids":[` + strings.Repeat(`1,`, 32_000) + `1]}]}}}`,
	"NUL":              `{"content":"Hi","metadata":{"a":[` + strings.Repeat(`{"a":"bcdefgh"},`, 24_900) + `"\u0000"]}}`,
	"long items":       `{"content":"Hi","attachments":[` + strings.Repeat(`"`+strings.Repeat("x", 15)+`",`, 49_900) + `"x"]}`,
}

// BenchmarkLargestBody enforces the contract on the most expensive bodies, valid and invalid.
func BenchmarkLargestBody(b *testing.B) {
	for name, body := range largest {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			enforce := largestEnforcer(b, name)
			b.ReportAllocs()
			for b.Loop() {
				_ = enforce(body)
			}
		})
	}
}

func largestEnforcer(tb testing.TB, name string) func(body string) error {
	tb.Helper()
	if strings.HasPrefix(name, "checked") {
		return enforcer(tb, "createCompletion", "chatbotId")
	}
	return enforcer(tb, "sendMessage", "id")
}

// enforcer returns a function that enforces the contract on a body of an operation with one parameter
// in its path.
func enforcer(b testing.TB, operationID, parameter string) func(body string) error {
	b.Helper()
	contract, err := New(Config{Limiter: ratelimit.New(ratelimit.Limits{Messages: 1 << 40})})
	if err != nil {
		b.Fatal(err)
	}
	at := slices.IndexFunc(contract.operations, func(op *operation) bool { return op.id == operationID })
	op := *contract.operations[at]
	op.isPublic = true
	server := echo.New()
	id := uuid.NewString()
	path := strings.ReplaceAll(op.route.Path, "{"+parameter+"}", id)
	return func(body string) error {
		request := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		ec := server.NewContext(request, discard{header: http.Header{}})
		ec.SetParamNames(parameter)
		ec.SetParamValues(id)
		return contract.enforce(ec, &op)
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

// discard is a response writer that discards everything.
type discard struct{ header http.Header }

func (d discard) Header() http.Header            { return d.header }
func (d discard) Write(data []byte) (int, error) { return len(data), nil }
func (d discard) WriteHeader(int)                {}
