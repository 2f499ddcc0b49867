package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// ByteLimit bounds how many bytes of rows a query hands over, so that a page of long rows takes
// no more memory than one of short rows.
type ByteLimit struct {
	bytes int
	isCut bool
}

// Truncated tells whether a query had more rows than its bytes allowed.
func (c *ByteLimit) Truncated() bool { return c.isCut }

type capKey struct{}

// WithByteLimit returns a context in which each query of many rows ends with the row that brings
// it to so many bytes. It is for one goroutine.
func WithByteLimit(ctx context.Context, bytes int) (context.Context, *ByteLimit) {
	limit := &ByteLimit{bytes: bytes}
	return context.WithValue(ctx, capKey{}, limit), limit
}

// capOf returns rows that keep to the cap of a context, where it has one.
func capOf(ctx context.Context, found pgx.Rows) pgx.Rows {
	limit, isCapped := ctx.Value(capKey{}).(*ByteLimit)
	if !isCapped {
		return found
	}
	return &cappedRows{Rows: found, limit: limit, left: limit.bytes}
}

type cappedRows struct {
	pgx.Rows
	limit *ByteLimit
	left  int
}

// Next reads the next row, unless those before it have taken all the bytes: the rest is
// then passed over.
func (r *cappedRows) Next() bool {
	if !r.Rows.Next() {
		return false
	}
	if r.left <= 0 {
		r.limit.isCut = true
		r.Close()
		return false
	}
	for _, column := range r.RawValues() {
		r.left -= len(column)
	}
	return true
}
