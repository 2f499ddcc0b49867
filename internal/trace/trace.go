// Package trace follows requests through the process, and replies after them, and hands
// what it has seen to a collector, as OpenTelemetry has it. No other package knows its
// library.
//
// It is told what is done and to whose account, never what is said: no message, no key, no
// text of an error. A nil Tracer follows nothing and costs nothing.
package trace

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// farewell bounds the handing over of what is left at the end.
const farewell = 3 * time.Second

// Tracer makes spans. It is safe for concurrent use.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	log      *slog.Logger
}

// Open begins to hand spans to the collector that the standard variables of OpenTelemetry
// name, which also say how many. A collector that is away costs spans, and a line in the
// log, nothing else.
func Open(ctx context.Context, version string, log *slog.Logger) (*Tracer, error) {
	exporter, err := otlptracehttp.New(ctx) // it does not connect yet
	if err != nil {
		return nil, fmt.Errorf("read the settings of the traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "parley"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithFromEnv()) // last: it wins
	if err != nil {
		return nil, fmt.Errorf("read the settings of the traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces are lost", "error", err) }))
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	return &Tracer{provider: provider, tracer: provider.Tracer("parley"), log: log}, nil
}

// Close hands over what is left.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last traces are lost", "error", err)
	}
}

// Span is a piece of work. The zero Span is of none, and all that is told of it forgotten.
type Span struct{ span trace.Span }

// Begin begins a piece of what ctx is a part of, or, of nothing, a whole of its own.
func (t *Tracer) Begin(ctx context.Context, name string) (context.Context, Span) {
	return t.begin(ctx, name, trace.SpanKindInternal)
}

// BeginCall begins a piece that is done by another server, which Carry tells of it.
func (t *Tracer) BeginCall(ctx context.Context, name string) (context.Context, Span) {
	return t.begin(ctx, name, trace.SpanKindClient)
}

// BeginQuery begins what is asked of PostgreSQL for something that is followed; for what is
// not, nothing.
func (t *Tracer) BeginQuery(ctx context.Context, name string) (context.Context, Span) {
	if t == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, Span{}
	}
	ctx, span := t.BeginCall(ctx, name)
	span.Text("db.system.name", "postgresql")
	span.Text("db.operation.name", name)
	return ctx, span
}

// BeginServing begins to follow a request, as a part of what its headers say that it is a
// part of.
func (t *Tracer) BeginServing(ctx context.Context, name string, header http.Header) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.begin(propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(header)), name, trace.SpanKindServer)
}

func (t *Tracer) begin(ctx context.Context, name string, kind trace.SpanKind) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind))
	return ctx, Span{span}
}

// Carry tells another server, in the headers of a request, what it becomes a part of.
func (t *Tracer) Carry(ctx context.Context, header http.Header) {
	if t != nil {
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
	}
}

// Origin is what later work belongs to, wherever that is done. The zero Origin is nothing.
type Origin struct{ span trace.Span }

// OriginOf returns what ctx is a part of.
func (t *Tracer) OriginOf(ctx context.Context) Origin {
	if t == nil {
		return Origin{}
	}
	return Origin{trace.SpanFromContext(ctx)}
}

// In makes what is done with ctx a part of the origin.
func (o Origin) In(ctx context.Context) context.Context {
	if o.span == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, o.span)
}

// IsSeen tells whether what is told of a span is kept.
func (s Span) IsSeen() bool { return s.span != nil && s.span.IsRecording() }

// Rename gives it a better name.
func (s Span) Rename(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// Text tells something of it, in one of a few words.
func (s Span) Text(name, value string) {
	if s.IsSeen() {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// Number tells a number of it.
func (s Span) Number(name string, value int) {
	if s.IsSeen() {
		s.span.SetAttributes(attribute.Int(name, value))
	}
}

// ID tells whose it is; the zero id is nobody's.
func (s Span) ID(name string, id uuid.UUID) {
	if s.IsSeen() && id != uuid.Nil {
		s.span.SetAttributes(attribute.String(name, id.String()))
	}
}

// Note notes what has happened at this moment.
func (s Span) Note(event string) {
	if s.span != nil {
		s.span.AddEvent(event)
	}
}

// Fail says that it has failed, and how: by the code of a failure, not its text.
func (s Span) Fail(code string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String("error.type", code))
		s.span.SetStatus(codes.Error, code)
	}
}

// End ends it.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}
