package trace_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"testing"

	"github.com/google/uuid"

	"parley/internal/trace"
)

// BenchmarkHotNilTracer measures the cost of tracing while it is disabled.
func BenchmarkHotNilTracer(b *testing.B) {
	var tracer *trace.Tracer
	header, id := http.Header{}, uuid.New()
	b.ReportAllocs()
	for b.Loop() {
		traceRequest(b.Context(), tracer, header, id)
	}
}

// traceRequest records the spans of a request and of its reply.
func traceRequest(ctx context.Context, tracer *trace.Tracer, header http.Header, id uuid.UUID) {
	ctx, request := tracer.StartServer(ctx, "POST", header)
	_, query := tracer.StartQuery(ctx, "SendMessage")
	query.SetNumber("db.operation.batch.size", 1)
	query.End()
	ctx, reply := tracer.Start(tracer.ParentOf(ctx).Context(context.Background()), "reply")
	reply.SetID("parley.run.id", id)
	ctx, call := tracer.StartClient(ctx, "chat")
	tracer.Inject(ctx, header)
	call.Fail("refused")
	call.End()
	reply.AddEvent("first token")
	reply.End()
	request.SetText("http.route", "/")
	request.SetName("POST /")
	request.End()
}

func TestNilTracerRecordsNothing(t *testing.T) {
	t.Parallel()
	var tracer *trace.Tracer
	header := http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
	ctx, span := tracer.StartServer(t.Context(), "POST", header)
	if ctx != t.Context() || span.IsRecording() {
		t.Error("a span is recorded")
	}
	sent := http.Header{}
	traceRequest(t.Context(), tracer, sent, uuid.New())
	if len(sent) != 0 {
		t.Errorf("trace headers were sent: %v", sent)
	}
	tracer.Close()

	// A log record outside of a span has no trace ID.
	var log bytes.Buffer
	slog.New(trace.LogHandler(slog.NewTextHandler(&log, nil))).With("a", 1).WithGroup("b").InfoContext(ctx, "text", "c", 2)
	if line := log.String(); !bytes.Contains(log.Bytes(), []byte("msg=text a=1 b.c=2\n")) {
		t.Errorf("logged %s", line)
	}
}
