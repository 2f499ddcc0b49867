package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	gendb "parley/gen/db"
)

// translator wraps the connections of generated queries: it translates errors and retries
// statements that lost a race. In a transaction retries is 0, because the whole transaction must be
// retried.
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
	return translatedRows{Rows: limitBytes(ctx, found), translate: t.translate}, nil
}

// QueryRow returns a row whose Scan runs the statement.
func (t translator) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return translatedRow{ctx: ctx, by: t, sql: sql, args: args}
}

// translate leaves a lost race inside a transaction unchanged, so that InTx recognizes it.
func (t translator) translate(err error) error {
	if t.retries == 0 && lostRace(err) {
		return err
	}
	return translate(err)
}

// translatedRow runs its statement in Scan, so that it can retry.
type translatedRow struct {
	ctx  context.Context
	by   translator
	sql  string
	args []any
}

// Scan scans the row. Without a row it returns a NotFound error.
func (r translatedRow) Scan(dest ...any) error {
	err := r.by.on.QueryRow(r.ctx, r.sql, r.args...).Scan(dest...)
	for i := 0; i < r.by.retries && lostRace(err); i++ {
		err = r.by.on.QueryRow(r.ctx, r.sql, r.args...).Scan(dest...)
	}
	return r.by.translate(err)
}

type translatedRows struct {
	pgx.Rows
	translate func(error) error
}

// Err returns the error that ended the rows early.
func (r translatedRows) Err() error { return r.translate(r.Rows.Err()) }

// Scan scans the current row.
func (r translatedRows) Scan(dest ...any) error { return r.translate(r.Rows.Scan(dest...)) }
