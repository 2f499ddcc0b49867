package contracttest_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"parley/internal/contracttest"
)

// answer is a response of the test's server.
type answer struct {
	status int
	header map[string]string
	body   string
}

// recorder records the failures of a test.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// failuresOf sends a request to a server that sends the answer. It returns the failures that the Transport reports to
// the test.
func failuresOf(t *testing.T, method, path string, sent answer) []string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range sent.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(sent.status)
		_, _ = io.WriteString(w, sent.body)
	}))
	defer server.Close()
	failed := &recorder{TB: t}
	request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: contracttest.New(failed, http.DefaultTransport)}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return failed.failures
}

const (
	delivered = `{"message_id":"019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e02","timestamp":"2026-01-15T10:30:00.000000Z","status":"delivered","seq":1}`
	event     = `{"conversationId":"019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01","runId":"019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e03","messageId":"019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e0a","content":"Hi","done":false}`
	problem   = `{"type":"/problems/internal","title":"Internal error","status":500,"detail":"It failed.","error":"internal","request_id":"a","retryable":true}`
)

// A response that the document declares is valid under every alias of its path.
func TestDeclaredResponsesPass(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/api/conversations/x/messages", "/api/conversations/x/messages/", "/conversations/x/messages", "/api/v1/conversations/x/messages/"} {
		for _, failure := range failuresOf(t, http.MethodPost, path, answer{201, map[string]string{"X-Request-Id": "a", "Content-Type": "application/json"}, delivered}) {
			t.Error(failure)
		}
	}
	header := map[string]string{"X-Request-Id": "a", "Content-Type": "text/event-stream", "X-Run-Id": "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e03"}
	for _, failure := range failuresOf(t, http.MethodPost, "/api/chatbots/x/completions/", answer{200, header, ": alive\n\nid: 1.2\ndata: " + event + "\n\n"}) {
		t.Error(failure)
	}
}

func TestUndeclaredResponsesFail(t *testing.T) {
	t.Parallel()
	const messages, completions = "/api/conversations/x/messages", "/api/chatbots/x/completions/"
	for name, c := range map[string]struct {
		path   string
		change answer // valid without the headers
		want   string
	}{
		"a status":             {messages, answer{status: 202}, "does not declare the status 202"},
		"an undeclared 4xx":    {messages, answer{status: 418, header: map[string]string{"Content-Type": "application/problem+json"}, body: strings.Replace(problem, "500", "418", 1)}, "does not declare the status 418"},
		"a header":             {messages, answer{header: map[string]string{"X-Secret": "1"}}, "X-Secret is not declared"},
		"a header's value":     {messages, answer{header: map[string]string{"Idempotency-Replayed": "yes"}}, "Idempotency-Replayed"},
		"no header":            {messages, answer{header: map[string]string{"X-Request-Id": ""}}, "X-Request-Id is missing"},
		"a media type":         {messages, answer{header: map[string]string{"Content-Type": "text/plain"}}, `does not declare "text/plain"`},
		"no JSON":              {messages, answer{body: "{"}, "invalid JSON"},
		"a field":              {messages, answer{body: strings.Replace(delivered, "{", `{"extra":1,`, 1)}, "extra"},
		"no field":             {messages, answer{body: strings.Replace(delivered, `,"seq":1`, "", 1)}, "seq"},
		"a time":               {messages, answer{body: strings.Replace(delivered, ".000000Z", "Z", 1)}, "six fraction digits"},
		"an id":                {messages, answer{body: strings.Replace(delivered, "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e02", "me", 1)}, "message_id"},
		"a path":               {"/api/nothing", answer{}, "no such operation"},
		"an event":             {completions, answer{200, map[string]string{"Content-Type": "text/event-stream"}, "data: " + strings.Replace(event, "done", "over", 1) + "\n\n"}, "done"},
		"an error's type":      {messages, answer{400, nil, delivered}, "media type"},
		"an internal detail":   {messages, answer{503, map[string]string{"Content-Type": "application/problem+json"}, strings.NewReplacer("It failed", "dial tcp: refused").Replace(problem)}, `reveals "dial tcp"`},
		"an error's status":    {messages, answer{503, map[string]string{"Content-Type": "application/problem+json"}, problem}, "status is 500"},
		"an error's id":        {messages, answer{500, map[string]string{"Content-Type": "application/problem+json"}, strings.Replace(problem, `"request_id":"a"`, `"request_id":"b"`, 1)}, "request_id is b"},
		"an internal error":    {messages, answer{500, map[string]string{"Content-Type": "application/problem+json"}, problem}, "It failed"},
		"a 401 without scheme": {messages, answer{401, map[string]string{"Content-Type": "application/problem+json"}, problem}, "WWW-Authenticate"},
	} {
		sent := answer{201, map[string]string{"X-Request-Id": "a", "Content-Type": "application/json"}, delivered}
		if c.change.status != 0 {
			sent.status = c.change.status
		}
		maps.Copy(sent.header, c.change.header)
		if c.change.body != "" {
			sent.body = c.change.body
		}
		got := failuresOf(t, http.MethodPost, c.path, sent)
		if len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestFramesAreValidated(t *testing.T) {
	t.Parallel()
	const typing = `{"type":"typing","session_id":"019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01","is_typing":true}`
	if err := contracttest.CheckFrame([]byte(typing)); err != nil {
		t.Error(err)
	}
	for name, frame := range map[string]string{
		"no JSON":      "{",
		"another type": strings.Replace(typing, "typing", "writing", 1),
		"a field":      strings.Replace(typing, "{", `{"extra":1,`, 1),
		"no field":     strings.Replace(typing, `,"is_typing":true`, "", 1),
	} {
		if contracttest.CheckFrame([]byte(frame)) == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
