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

// said is an answer that a server gives.
type said struct {
	status int
	header map[string]string
	body   string
}

// complaints is a test that may fail.
type complaints struct {
	testing.TB
	all []string
}

func (c *complaints) Helper() {}

func (c *complaints) Errorf(format string, args ...any) {
	c.all = append(c.all, fmt.Sprintf(format, args...))
}

// ask asks a server that gives that answer.
func ask(t *testing.T, method, path string, answer said) []string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range answer.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(answer.status)
		_, _ = io.WriteString(w, answer.body)
	}))
	defer server.Close()
	heard := &complaints{TB: t}
	request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: contracttest.New(heard, http.DefaultTransport)}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return heard.all
}

const (
	sent   = `{"message_id":"019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e02","timestamp":"2026-01-15T10:30:00.000000Z","status":"delivered","seq":1}`
	event  = `{"conversationId":"019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01","runId":"019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e03","messageId":"019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e0a","content":"Hi","done":false}`
	failed = `{"type":"/problems/internal","title":"Internal error","status":500,"detail":"It failed.","error":"internal","request_id":"a","retryable":true}`
)

// What the document has is no mistake, by any spelling of a path.
func TestWhatTheDocumentHasPasses(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/api/conversations/x/messages", "/api/conversations/x/messages/", "/conversations/x/messages", "/api/v1/conversations/x/messages/"} {
		for _, complaint := range ask(t, http.MethodPost, path, said{201, map[string]string{"X-Request-Id": "a", "Content-Type": "application/json"}, sent}) {
			t.Error(complaint)
		}
	}
	header := map[string]string{"X-Request-Id": "a", "Content-Type": "text/event-stream", "X-Run-Id": "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e03"}
	for _, complaint := range ask(t, http.MethodPost, "/api/chatbots/x/completions/", said{200, header, ": alive\n\nid: 1.2\ndata: " + event + "\n\n"}) {
		t.Error(complaint)
	}
}

// What the document does not have fails the test, wherever it is.
func TestWhatTheDocumentDoesNotHaveIsNoticed(t *testing.T) {
	t.Parallel()
	const messages, completions = "/api/conversations/x/messages", "/api/chatbots/x/completions/"
	for name, c := range map[string]struct {
		path   string
		change said // of a good answer
		words  string
	}{
		"a status":             {messages, said{status: 202}, "does not have the status 202"},
		"an undeclared 4xx":    {messages, said{status: 418, header: map[string]string{"Content-Type": "application/problem+json"}, body: strings.Replace(failed, "500", "418", 1)}, "does not have the status 418"},
		"a header":             {messages, said{header: map[string]string{"X-Secret": "1"}}, "X-Secret is not declared"},
		"a header's value":     {messages, said{header: map[string]string{"Idempotency-Replayed": "yes"}}, "Idempotency-Replayed"},
		"no header":            {messages, said{header: map[string]string{"X-Request-Id": ""}}, "X-Request-Id is missing"},
		"a media type":         {messages, said{header: map[string]string{"Content-Type": "text/plain"}}, `has no "text/plain"`},
		"no JSON":              {messages, said{body: "{"}, "no JSON"},
		"a field":              {messages, said{body: strings.Replace(sent, "{", `{"extra":1,`, 1)}, "extra"},
		"no field":             {messages, said{body: strings.Replace(sent, `,"seq":1`, "", 1)}, "seq"},
		"a time":               {messages, said{body: strings.Replace(sent, ".000000Z", "Z", 1)}, "the time is"},
		"an id":                {messages, said{body: strings.Replace(sent, "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e02", "me", 1)}, "message_id"},
		"a path":               {"/api/nothing", said{}, "no such operation"},
		"an event":             {completions, said{200, map[string]string{"Content-Type": "text/event-stream"}, "data: " + strings.Replace(event, "done", "over", 1) + "\n\n"}, "done"},
		"a failure's type":     {messages, said{400, nil, sent}, "of the type"},
		"a failure's words":    {messages, said{503, map[string]string{"Content-Type": "application/problem+json"}, strings.NewReplacer("It failed", "dial tcp: refused").Replace(failed)}, `tells of "dial tcp"`},
		"a failure's id":       {messages, said{503, map[string]string{"Content-Type": "application/problem+json"}, strings.Replace(failed, `"request_id":"a"`, `"request_id":"b"`, 1)}, "status is 500"},
		"a mistake of ours":    {messages, said{500, map[string]string{"Content-Type": "application/problem+json"}, failed}, "It failed"},
		"a 401 without a word": {messages, said{401, map[string]string{"Content-Type": "application/problem+json"}, failed}, "WWW-Authenticate"},
	} {
		answer := said{201, map[string]string{"X-Request-Id": "a", "Content-Type": "application/json"}, sent}
		if c.change.status != 0 {
			answer.status = c.change.status
		}
		maps.Copy(answer.header, c.change.header)
		if c.change.body != "" {
			answer.body = c.change.body
		}
		got := ask(t, http.MethodPost, c.path, answer)
		if len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), c.words) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A frame is one of the server's, whole and with nothing beside it.
func TestFramesAreHeldAgainstTheDocument(t *testing.T) {
	t.Parallel()
	const typing = `{"type":"typing","session_id":"019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01","is_typing":true}`
	if err := contracttest.Frame([]byte(typing)); err != nil {
		t.Error(err)
	}
	for name, frame := range map[string]string{
		"no JSON":      "{",
		"another type": strings.Replace(typing, "typing", "writing", 1),
		"a field":      strings.Replace(typing, "{", `{"extra":1,`, 1),
		"no field":     strings.Replace(typing, `,"is_typing":true`, "", 1),
	} {
		if contracttest.Frame([]byte(frame)) == nil {
			t.Errorf("%s is not noticed", name)
		}
	}
}
