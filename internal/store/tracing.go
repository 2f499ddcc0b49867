package store

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"parley/internal/trace"
)

// queries follows what is asked of PostgreSQL by the names of the queries. Neither what
// they are asked with nor PostgreSQL's words, which may quote that, are told.
type queries struct{ traces *trace.Tracer }

const unnamed = "statement"

// nameOf is the name of a generated query; any other is a statement.
func nameOf(sql string) string {
	if named, ok := strings.CutPrefix(sql, "-- name: "); ok {
		name, _, _ := strings.Cut(named, " ")
		return name
	}
	return unnamed
}

// TraceQueryStart begins to follow a query.
func (q queries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, asked pgx.TraceQueryStartData) context.Context {
	return q.begin(ctx, asked.SQL, 1)
}

// TraceQueryEnd notes its end.
func (queries) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, told pgx.TraceQueryEndData) {
	endQuery(ctx, told.Err)
}

// TraceBatchStart begins to follow queries that are asked together, by the name of the first
// that has one: settings that belong to it may come before it.
func (q queries) TraceBatchStart(ctx context.Context, _ *pgx.Conn, asked pgx.TraceBatchStartData) context.Context {
	sql := ""
	for _, one := range asked.Batch.QueuedQueries {
		if sql = one.SQL; nameOf(sql) != unnamed {
			break
		}
	}
	return q.begin(ctx, sql, asked.Batch.Len())
}

// TraceBatchQuery is told of each of them.
func (queries) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd notes their end.
func (queries) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, told pgx.TraceBatchEndData) {
	endQuery(ctx, told.Err)
}

type spanKey struct{}

func (q queries) begin(ctx context.Context, sql string, size int) context.Context {
	ctx, span := q.traces.StartQuery(ctx, nameOf(sql))
	if !span.IsRecording() {
		return ctx
	}
	if size > 1 {
		span.SetNumber("db.operation.batch.size", size)
	}
	return context.WithValue(ctx, spanKey{}, span)
}

func endQuery(ctx context.Context, err error) {
	span, isSeen := ctx.Value(spanKey{}).(trace.Span)
	if !isSeen {
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
