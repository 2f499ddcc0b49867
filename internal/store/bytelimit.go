package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// ByteLimit bounds the bytes of the rows that a query returns, so that a page of long rows needs no
// more memory than one of short rows.
type ByteLimit struct {
	bytes     int
	truncated bool
}

// Truncated reports whether a query had more rows than the limit allowed.
func (l *ByteLimit) Truncated() bool { return l.truncated }

type byteLimitKey struct{}

// WithByteLimit returns a context in which the rows of a query end with the row that reaches the
// limit. The ByteLimit must not be used by several goroutines at once.
func WithByteLimit(ctx context.Context, bytes int) (context.Context, *ByteLimit) {
	limit := &ByteLimit{bytes: bytes}
	return context.WithValue(ctx, byteLimitKey{}, limit), limit
}

// limitBytes applies the byte limit of the context, if any.
func limitBytes(ctx context.Context, rows pgx.Rows) pgx.Rows {
	limit, ok := ctx.Value(byteLimitKey{}).(*ByteLimit)
	if !ok {
		return rows
	}
	return &limitedRows{Rows: rows, limit: limit, remaining: limit.bytes}
}

type limitedRows struct {
	pgx.Rows
	limit     *ByteLimit
	remaining int
}

// Next reads the next row. Once the limit is reached it discards the rest and returns false.
func (r *limitedRows) Next() bool {
	if !r.Rows.Next() {
		return false
	}
	if r.remaining <= 0 {
		r.limit.truncated = true
		r.Close()
		return false
	}
	for _, column := range r.RawValues() {
		r.remaining -= len(column)
	}
	return true
}
