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

// collecting is a collector of traces.
type collecting struct {
	t   *testing.T
	url string

	mu    sync.Mutex
	spans []*otlp.Span
	text  strings.Builder // all that was told
}

func collect(t *testing.T) *collecting {
	t.Helper()
	c := &collecting{t: t}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *collecting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			c.t.Error(err)
			return
		}
		body = unzipped
	}
	told, err := io.ReadAll(body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(told, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		c.t.Errorf("%s: %v", r.URL, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(told)
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// of returns the spans of a trace by their names; of one name the last.
func (c *collecting) of(trace string) map[string]*otlp.Span {
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

// whole waits for a span of a name, whose trace is none of the known ones, and for more
// spans in it.
func (c *collecting) whole(name string, more ...string) map[string]*otlp.Span {
	c.t.Helper()
	var found map[string]*otlp.Span
	eventually(c.t, "the trace of "+name, func() bool {
		c.mu.Lock()
		at := slices.IndexFunc(c.spans, func(span *otlp.Span) bool { return span.Name == name })
		c.mu.Unlock()
		if at < 0 {
			return false
		}
		found = c.of(hex.EncodeToString(c.spans[at].TraceId))
		for _, one := range more {
			if found[one] == nil {
				return false
			}
		}
		return true
	})
	return found
}

func told(span *otlp.Span, name string) string {
	for _, one := range span.GetAttributes() {
		if one.Key == name {
			if text := one.Value.GetStringValue(); text != "" {
				return text
			}
			return one.Value.String()
		}
	}
	return ""
}

func TestTracesShowWhatBecomesOfARequest(t *testing.T) {
	t.Parallel()
	const (
		apiKey   = "sk-hushhushhushhush"
		question = "Where is the mushroom?"
		reply    = "Behind the waterfall"
		traceID  = "4bf92f3577b34da6a3ce929d0e0e4736"
		parentID = "00f067aa0ba902b7"
	)
	// given a server whose traces are collected, and a bot whose model is asked elsewhere
	carried := make(chan string, 4)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		carried <- r.Header.Get("Traceparent")
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"`+reply+`"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5}}`)
	}))
	defer upstream.Close()
	traces := collect(t)
	server := serving(t, newDir(t), "OTEL_EXPORTER_OTLP_ENDPOINT="+traces.url, "OTEL_BSP_SCHEDULE_DELAY=50",
		"OPENAI_BASE_URL="+upstream.URL, "OPENAI_MODEL=small", "OPENAI_API_KEY="+apiKey)
	server.secrets = append(server.secrets, apiKey)
	asked := server.client(server.key)

	// when a completion is asked for as part of somebody's trace
	var answer struct{ Content, RunID, ConversationID string }
	asked.with("Traceparent", "00-"+traceID+"-"+parentID+"-01").with("X-Request-Id", "req-1").
		call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": question}}, http.StatusOK, &answer)
	if answer.Content != reply {
		t.Errorf("the answer is %+v", answer)
	}

	// then the trace tells what became of it, and whom it was handed to
	const request = "POST /api/chatbots/{chatbotId}/completions/"
	spans := traces.whole(request, "reply", "chat small", "SendMessage", "FinishRun")
	root, written, call := spans[request], spans["reply"], spans["chat small"]
	for name, parent := range map[string][]byte{"reply": root.SpanId, "chat small": written.SpanId, "FinishRun": written.SpanId, "SendMessage": root.SpanId} {
		if got := spans[name].ParentSpanId; !slices.Equal(got, parent) {
			t.Errorf("%s is part of %x, not of %x", name, got, parent)
		}
	}
	if hex.EncodeToString(root.TraceId) != traceID || hex.EncodeToString(root.ParentSpanId) != parentID || root.Kind != otlp.Span_SPAN_KIND_SERVER {
		t.Errorf("the request is %v", root)
	}
	if got, want := <-carried, "00-"+traceID+"-"+hex.EncodeToString(call.SpanId)+"-01"; got != want || call.Kind != otlp.Span_SPAN_KIND_CLIENT {
		t.Errorf("the model server is told %s, not %s", got, want)
	}
	for _, one := range []struct {
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
		if got := told(one.span, one.name); got != one.want {
			t.Errorf("%s of %s is %q, not %q", one.name, one.span.Name, got, one.want)
		}
	}
	if len(written.Events) != 1 || written.Events[0].Name != "first token" || told(root, "parley.organization.id") == "" {
		t.Errorf("the reply is %v, the request %v", written, root)
	}
	if log := server.stderr.String(); !strings.Contains(log, `"request_id":"req-1"`) || !strings.Contains(log, `"trace_id":"`+traceID+`"`) {
		t.Errorf("the log does not lead to the trace:\n%s", log)
	}

	// and so do those of a message over a socket, of one that shares its commit, and of an export
	socket, _, err := websocket.Dial(t.Context(), strings.Replace(server.base, "http", "ws", 1)+"/ws?session_id="+answer.ConversationID,
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Api-Key " + server.key}}})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	if err := wsjson.Write(t.Context(), socket, object{"type": "message", "content": question}); err != nil {
		t.Fatal(err)
	}
	spans = traces.whole("socket message", "SendMessage", "reply")
	if got := spans["reply"].ParentSpanId; !slices.Equal(got, spans["socket message"].SpanId) {
		t.Errorf("the socket's trace has %v", slices.Collect(maps.Keys(spans)))
	}
	today := time.Now().UTC().Format(time.DateOnly)
	if status, _, err := asked.try("GET", "/api/chatbots/parley/records/export/?format=csv&startDate="+today+"&endDate="+today, nil); err != nil || status != http.StatusOK {
		t.Errorf("the export: %d, %v", status, err)
	}
	spans = traces.whole("export")
	if told(spans["export"], "parley.export.format") != "csv" || spans["GET /api/chatbots/{chatbotPk}/records/export/"] == nil {
		t.Errorf("the export's trace has %v", slices.Collect(maps.Keys(spans)))
	}

	// and nothing that was said, nor any secret, is told
	server.stop()
	for _, secret := range []string{question, "mushroom", reply, apiKey, secretOf(server.key)} {
		if strings.Contains(traces.text.String(), secret) {
			t.Errorf("the traces tell %q", secret)
		}
	}
}
