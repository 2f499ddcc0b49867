// Package trace records spans of requests and of the replies that outlive them, and exports
// them to an OpenTelemetry collector. No other package imports the OpenTelemetry library.
//
// INVARIANT: spans record operations and their organization, never content. They hold no message, no
// key and no text of an error.
//
// A nil Tracer records nothing and allocates nothing.
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

// flushTimeout bounds the export of the remaining spans in Close.
const flushTimeout = 3 * time.Second

// Tracer records spans. It is safe for concurrent use.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	log      *slog.Logger
}

// Open returns a Tracer that exports in the background to the collector named by OpenTelemetry's
// standard environment variables, which also set the sampling. While the collector cannot be
// reached, spans are lost and the log says so; requests are not affected.
func Open(ctx context.Context, version string, log *slog.Logger) (*Tracer, error) {
	exporter, err := otlptracehttp.New(ctx) // does not connect yet
	if err != nil {
		return nil, fmt.Errorf("configure the trace exporter: %w", err)
	}
	attributes, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "parley"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithFromEnv()) // last, so that it takes precedence
	if err != nil {
		return nil, fmt.Errorf("configure the trace resource: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("export traces", "err", err) }))
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(attributes))
	return &Tracer{provider: provider, tracer: provider.Tracer("parley"), log: log}, nil
}

// Close exports the remaining spans.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("export the remaining traces", "err", err)
	}
}

// Span is a span that is being recorded. Methods of the zero Span do nothing.
type Span struct{ span trace.Span }

// Start starts a span as a child of the one in ctx, or as the root of a new trace.
func (t *Tracer) Start(ctx context.Context, name string) (context.Context, Span) {
	return t.start(ctx, name, trace.SpanKindInternal)
}

// StartClient starts a span for a call to another server. Inject passes it on.
func (t *Tracer) StartClient(ctx context.Context, name string) (context.Context, Span) {
	return t.start(ctx, name, trace.SpanKindClient)
}

// StartQuery starts a span for a PostgreSQL query, but only within a trace: background queries
// are not recorded.
func (t *Tracer) StartQuery(ctx context.Context, name string) (context.Context, Span) {
	if t == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, Span{}
	}
	ctx, span := t.StartClient(ctx, name)
	span.SetText("db.system.name", "postgresql")
	span.SetText("db.operation.name", name)
	return ctx, span
}

// StartServer starts a span for an incoming request, as a child of the span that its headers
// name.
func (t *Tracer) StartServer(ctx context.Context, name string, header http.Header) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.start(propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(header)), name, trace.SpanKindServer)
}

func (t *Tracer) start(ctx context.Context, name string, kind trace.SpanKind) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind))
	return ctx, Span{span}
}

// Inject writes the span in ctx to the headers of a request to another server.
func (t *Tracer) Inject(ctx context.Context, header http.Header) {
	if t != nil {
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
	}
}

// Parent is a span that later work, on another context, continues. The zero Parent has no span.
type Parent struct{ span trace.Span }

// ParentOf returns the span in ctx.
func (t *Tracer) ParentOf(ctx context.Context) Parent {
	if t == nil {
		return Parent{}
	}
	return Parent{trace.SpanFromContext(ctx)}
}

// Context returns ctx with the parent as its span.
func (p Parent) Context(ctx context.Context) context.Context {
	if p.span == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, p.span)
}

// IsRecording reports whether the span keeps what is set on it.
func (s Span) IsRecording() bool { return s.span != nil && s.span.IsRecording() }

// SetName replaces the span's name.
func (s Span) SetName(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// SetText sets an attribute to one of a few fixed values.
func (s Span) SetText(name, value string) {
	if s.IsRecording() {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// SetNumber sets an attribute to a number.
func (s Span) SetNumber(name string, value int) {
	if s.IsRecording() {
		s.span.SetAttributes(attribute.Int(name, value))
	}
}

// SetID sets an attribute to an ID, unless the ID is zero.
func (s Span) SetID(name string, id uuid.UUID) {
	if s.IsRecording() && id != uuid.Nil {
		s.span.SetAttributes(attribute.String(name, id.String()))
	}
}

// AddEvent adds an event that happened now.
func (s Span) AddEvent(event string) {
	if s.span != nil {
		s.span.AddEvent(event)
	}
}

// Fail marks the span as failed, with an error code and not an error's text.
func (s Span) Fail(code string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String("error.type", code))
		s.span.SetStatus(codes.Error, code)
	}
}

// End ends the span.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}
