package store

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"parley/internal/trace"
)

// queryTracer traces queries by name. Spans carry neither arguments nor PostgreSQL's messages,
// which may quote arguments.
type queryTracer struct{ traces *trace.Tracer }

// unnamed is the name of a statement that is not a generated query.
const unnamed = "statement"

// queryName returns the name of a generated query.
func queryName(sql string) string {
	if named, ok := strings.CutPrefix(sql, "-- name: "); ok {
		name, _, _ := strings.Cut(named, " ")
		return name
	}
	return unnamed
}

// TraceQueryStart implements pgx.QueryTracer.
func (t queryTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return t.begin(ctx, data.SQL, 1)
}

// TraceQueryEnd implements pgx.QueryTracer.
func (queryTracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	endQuery(ctx, data.Err)
}

// TraceBatchStart implements pgx.BatchTracer. A batch is named after its first named query:
// settings may come before it.
func (t queryTracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	sql := ""
	for _, query := range data.Batch.QueuedQueries {
		if sql = query.SQL; queryName(sql) != unnamed {
			break
		}
	}
	return t.begin(ctx, sql, data.Batch.Len())
}

// TraceBatchQuery implements pgx.BatchTracer.
func (queryTracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (queryTracer) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchEndData) {
	endQuery(ctx, data.Err)
}

type spanKey struct{}

func (t queryTracer) begin(ctx context.Context, sql string, size int) context.Context {
	ctx, span := t.traces.StartQuery(ctx, queryName(sql))
	if !span.IsRecording() {
		return ctx
	}
	if size > 1 {
		span.SetNumber("db.operation.batch.size", size)
	}
	return context.WithValue(ctx, spanKey{}, span)
}

func endQuery(ctx context.Context, err error) {
	span, ok := ctx.Value(spanKey{}).(trace.Span)
	if !ok {
		return
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		code := "connection"
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
			code = pg.Code
		}
		span.Fail(code)
	}
	span.End()
}
