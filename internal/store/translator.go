package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	gendb "parley/gen/db"
)

// translator stands between the generated queries and pgx: errors come out as
// faults, and a statement that lost a race runs again, retries times. In a
// transaction retries is 0: there the whole transaction runs again.
type translator struct {
	on      gendb.DBTX
	retries int
}

// Exec runs a statement that returns no rows.
func (t translator) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	tag, err := t.on.Exec(ctx, sql, args...)
	for i := 0; i < t.retries && lostRace(err); i++ {
		tag, err = t.on.Exec(ctx, sql, args...)
	}
	return tag, t.translate(err)
}

// Query runs a statement that returns rows.
func (t translator) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	found, err := t.on.Query(ctx, sql, args...)
	if err != nil {
		return nil, t.translate(err)
	}
	return rows{Rows: capOf(ctx, found), translate: t.translate}, nil
}

// QueryRow runs a statement that returns one row.
func (t translator) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return row{ctx: ctx, by: t, sql: sql, args: args}
}

// translate leaves a lost race as it is inside a transaction, for InTx to see.
func (t translator) translate(err error) error {
	if t.retries == 0 && lostRace(err) {
		return err
	}
	return translate(err)
}

// row runs its statement when it is scanned, as pgx's own does in effect.
type row struct {
	ctx  context.Context
	by   translator
	sql  string
	args []any
}

// Scan reads the row; no row is the fault NotFound.
func (r row) Scan(dest ...any) error {
	err := r.by.on.QueryRow(r.ctx, r.sql, r.args...).Scan(dest...)
	for i := 0; i < r.by.retries && lostRace(err); i++ {
		err = r.by.on.QueryRow(r.ctx, r.sql, r.args...).Scan(dest...)
	}
	return r.by.translate(err)
}

type rows struct {
	pgx.Rows
	translate func(error) error
}

// Err tells what ended the rows before their end.
func (r rows) Err() error { return r.translate(r.Rows.Err()) }

// Scan reads the current row.
func (r rows) Scan(dest ...any) error { return r.translate(r.Rows.Scan(dest...)) }
