package main

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// traceCollector is an OTLP collector.
type traceCollector struct {
	t   *testing.T
	url string

	mu    sync.Mutex
	spans []*otlp.Span
	text  strings.Builder // everything that was received
}

func collect(t *testing.T) *traceCollector {
	t.Helper()
	c := &traceCollector{t: t}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *traceCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			c.t.Error(err)
			return
		}
		body = unzipped
	}
	got, err := io.ReadAll(body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(got, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		c.t.Errorf("%s: %v", r.URL, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(got)
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// spansOf returns the spans of a trace by name. If a name is repeated, the last one counts.
func (c *traceCollector) spansOf(trace string) map[string]*otlp.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]*otlp.Span{}
	for _, span := range c.spans {
		if hex.EncodeToString(span.TraceId) == trace {
			found[span.Name] = span
		}
	}
	return found
}

// await waits for a span and for other spans of its trace, and returns all spans of the trace.
func (c *traceCollector) await(name string, more ...string) map[string]*otlp.Span {
	c.t.Helper()
	var found map[string]*otlp.Span
	eventually(c.t, "the trace of "+name, func() bool {
		c.mu.Lock()
		at := slices.IndexFunc(c.spans, func(span *otlp.Span) bool { return span.Name == name })
		c.mu.Unlock()
		if at < 0 {
			return false
		}
		found = c.spansOf(hex.EncodeToString(c.spans[at].TraceId))
		for _, other := range more {
			if found[other] == nil {
				return false
			}
		}
		return true
	})
	return found
}

func attributeOf(span *otlp.Span, name string) string {
	for _, attribute := range span.GetAttributes() {
		if attribute.Key == name {
			if text := attribute.Value.GetStringValue(); text != "" {
				return text
			}
			return attribute.Value.String()
		}
	}
	return ""
}

const (
	tracedKey      = "sk-hushhushhushhush" // of the model server
	tracedQuestion = "Where is the mushroom?"
	tracedReply    = "Behind the waterfall"
	traceID        = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentID       = "00f067aa0ba902b7"
)

func TestTracesCoverRequests(t *testing.T) {
	t.Parallel()
	// given: a server with a trace collector, and a chatbot with a model server
	traceparents := make(chan string, 4) // the header of each request to the model server
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		traceparents <- r.Header.Get("Traceparent")
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"`+tracedReply+`"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5}}`)
	}))
	defer upstream.Close()
	traces := collect(t)
	server := serving(t, newDir(t), "OTEL_EXPORTER_OTLP_ENDPOINT="+traces.url, "OTEL_BSP_SCHEDULE_DELAY=50",
		"OPENAI_BASE_URL="+upstream.URL, "OPENAI_MODEL=small", "OPENAI_API_KEY="+tracedKey)
	server.secrets = append(server.secrets, tracedKey)
	api := server.client(server.key)

	// when: a completion is requested as part of a trace
	var answer tracedCompletion
	api.with("Traceparent", "00-"+traceID+"-"+parentID+"-01").with("X-Request-Id", "req-1").
		call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": tracedQuestion}}, http.StatusOK, &answer)
	if answer.Content != tracedReply {
		t.Errorf("the completion is %+v", answer)
	}

	// then: the trace has the spans of the request, and continues at the model server
	traces.checkCompletion(answer, <-traceparents)
	if log := server.stderr.String(); !strings.Contains(log, `"caller_request_id":"req-1"`) || !strings.Contains(log, `"trace_id":"`+traceID+`"`) {
		t.Errorf("the log does not have the trace ID:\n%s", log)
	}

	// and: messages over sockets and exports have traces
	sendOverSocket(t, server, answer.ConversationID)
	traces.checkSocketMessage()
	today := time.Now().UTC().Format(time.DateOnly)
	if status, _, err := api.try("GET", "/api/chatbots/parley/records/export/?format=csv&startDate="+today+"&endDate="+today, nil); err != nil || status != http.StatusOK {
		t.Errorf("export: %d, %v", status, err)
	}
	traces.checkExport()

	// and: traces contain neither messages nor secrets
	server.stop()
	for _, secret := range []string{tracedQuestion, "mushroom", tracedReply, tracedKey, secretOf(server.key)} {
		if strings.Contains(traces.text.String(), secret) {
			t.Errorf("the traces contain %q", secret)
		}
	}
}

type tracedCompletion struct{ Content, RunID, ConversationID string }

// checkCompletion checks the trace of a completion. traceparent is the header of the request to the model server.
func (c *traceCollector) checkCompletion(answer tracedCompletion, traceparent string) {
	c.t.Helper()
	const request = "POST /api/chatbots/{chatbotId}/completions/"
	spans := c.await(request, "reply", "chat small", "SendMessage", "FinishRun")
	root, written, call := spans[request], spans["reply"], spans["chat small"]
	for name, parent := range map[string][]byte{"reply": root.SpanId, "chat small": written.SpanId, "FinishRun": written.SpanId, "SendMessage": root.SpanId} {
		if got := spans[name].ParentSpanId; !slices.Equal(got, parent) {
			c.t.Errorf("the parent of %s is %x, want %x", name, got, parent)
		}
	}
	if hex.EncodeToString(root.TraceId) != traceID || hex.EncodeToString(root.ParentSpanId) != parentID || root.Kind != otlp.Span_SPAN_KIND_SERVER {
		c.t.Errorf("the span of the request is %v", root)
	}
	if want := "00-" + traceID + "-" + hex.EncodeToString(call.SpanId) + "-01"; traceparent != want || call.Kind != otlp.Span_SPAN_KIND_CLIENT {
		c.t.Errorf("the model server received %s, want %s", traceparent, want)
	}
	for _, test := range []struct {
		span       *otlp.Span
		name, want string
	}{
		{root, "parley.operation", "createCompletion"},
		{root, "parley.request.id", "req-1"},
		{root, "http.response.status_code", "int_value:200"},
		{written, "parley.run.id", answer.RunID},
		{written, "parley.run.state", "completed"},
		{written, "parley.run.attempt", "int_value:1"},
		{call, "gen_ai.request.model", "small"},
		{call, "gen_ai.usage.output_tokens", "int_value:5"},
		{spans["FinishRun"], "db.system.name", "postgresql"},
	} {
		if got := attributeOf(test.span, test.name); got != test.want {
			c.t.Errorf("%s of %s is %q, want %q", test.name, test.span.Name, got, test.want)
		}
	}
	if len(written.Events) != 1 || written.Events[0].Name != "first token" || attributeOf(root, "parley.organization.id") == "" {
		c.t.Errorf("the span of the reply is %v, that of the request %v", written, root)
	}
}

// sendOverSocket sends the question over a socket, which stays open until the test ends.
func sendOverSocket(t *testing.T, server *process, conversation string) {
	t.Helper()
	socket, _, err := websocket.Dial(t.Context(), strings.Replace(server.base, "http", "ws", 1)+"/ws?session_id="+conversation,
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Api-Key " + server.key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.CloseNow() }) // fails if the server has closed it
	if err := wsjson.Write(t.Context(), socket, object{"type": "message", "content": tracedQuestion}); err != nil {
		t.Fatal(err)
	}
}

func (c *traceCollector) checkSocketMessage() {
	c.t.Helper()
	spans := c.await("socket message", "SendMessage", "reply")
	if got := spans["reply"].ParentSpanId; !slices.Equal(got, spans["socket message"].SpanId) {
		c.t.Errorf("the trace of the socket has %v", slices.Collect(maps.Keys(spans)))
	}
}

func (c *traceCollector) checkExport() {
	c.t.Helper()
	spans := c.await("export")
	if attributeOf(spans["export"], "parley.export.format") != "csv" || spans["GET /api/chatbots/{chatbotPk}/records/export/"] == nil {
		c.t.Errorf("the trace of the export has %v", slices.Collect(maps.Keys(spans)))
	}
}
