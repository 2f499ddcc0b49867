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

// BenchmarkHotUnfollowed is what following costs where nobody wants it.
func BenchmarkHotUnfollowed(b *testing.B) {
	var nobody *trace.Tracer
	header, id := http.Header{}, uuid.New()
	b.ReportAllocs()
	for b.Loop() {
		follow(b.Context(), nobody, header, id)
	}
}

// follow does what a request and its reply do.
func follow(ctx context.Context, traces *trace.Tracer, header http.Header, id uuid.UUID) {
	ctx, request := traces.BeginServing(ctx, "POST", header)
	_, query := traces.BeginQuery(ctx, "SendMessage")
	query.Number("db.operation.batch.size", 1)
	query.End()
	ctx, reply := traces.Begin(traces.OriginOf(ctx).In(context.Background()), "reply")
	reply.ID("parley.run.id", id)
	ctx, call := traces.BeginCall(ctx, "chat")
	traces.Carry(ctx, header)
	call.Fail("refused")
	call.End()
	reply.Note("first token")
	reply.End()
	request.Text("http.route", "/")
	request.Rename("POST /")
	request.End()
}

func TestNobodyFollowsWithoutATracer(t *testing.T) {
	t.Parallel()
	var nobody *trace.Tracer
	header := http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
	ctx, span := nobody.BeginServing(t.Context(), "POST", header)
	if ctx != t.Context() || span.IsSeen() {
		t.Error("a request is followed")
	}
	sent := http.Header{}
	follow(t.Context(), nobody, sent, uuid.New())
	if len(sent) != 0 {
		t.Errorf("another server is told %v", sent)
	}
	nobody.Close()

	// A log that could tell traces tells none.
	var log bytes.Buffer
	slog.New(trace.Logging(slog.NewTextHandler(&log, nil))).With("a", 1).WithGroup("b").InfoContext(ctx, "said", "c", 2)
	if line := log.String(); !bytes.Contains(log.Bytes(), []byte("msg=said a=1 b.c=2\n")) {
		t.Errorf("the log says %s", line)
	}
}
