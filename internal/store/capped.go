package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Cap bounds how many bytes of rows a query hands over, so that a page of long rows takes
// no more memory than one of short rows.
type Cap struct {
	bytes int
	isCut bool
}

// IsCut tells whether a query had more rows than its bytes allowed.
func (c *Cap) IsCut() bool { return c.isCut }

type capKey struct{}

// Capped returns a context in which each query of many rows ends with the row that brings
// it to so many bytes. It is for one goroutine.
func Capped(ctx context.Context, bytes int) (context.Context, *Cap) {
	limit := &Cap{bytes: bytes}
	return context.WithValue(ctx, capKey{}, limit), limit
}

// capOf returns rows that keep to the cap of a context, where it has one.
func capOf(ctx context.Context, found pgx.Rows) pgx.Rows {
	limit, isCapped := ctx.Value(capKey{}).(*Cap)
	if !isCapped {
		return found
	}
	return &cappedRows{Rows: found, limit: limit, left: limit.bytes}
}

type cappedRows struct {
	pgx.Rows
	limit *Cap
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
