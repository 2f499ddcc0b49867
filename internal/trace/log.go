package trace

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// Logging has each line of a log tell the trace and the span that it was written in.
func Logging(to slog.Handler) slog.Handler { return logging{to} }

type logging struct{ slog.Handler }

// Handle writes a line.
func (l logging) Handle(ctx context.Context, line slog.Record) error {
	if within := trace.SpanContextFromContext(ctx); within.IsValid() {
		line.AddAttrs(slog.String("trace_id", within.TraceID().String()), slog.String("span_id", within.SpanID().String()))
	}
	return l.Handler.Handle(ctx, line)
}

// WithAttrs returns a handler whose lines all have the attributes.
func (l logging) WithAttrs(attributes []slog.Attr) slog.Handler {
	return logging{l.Handler.WithAttrs(attributes)}
}

// WithGroup returns a handler whose lines have their attributes in the group.
func (l logging) WithGroup(name string) slog.Handler { return logging{l.Handler.WithGroup(name)} }
