package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	gendb "parley/gen/db"
)

// ReadRaw runs the queries that ask calls, together in one round trip, and hands each
// row to read as PostgreSQL sends it: the number of the query, from 0, and its columns,
// nil for NULL, which are good until read returns. That spares a page of rows most of
// what reading it costs. An error of read ends the reading, and comes back as it is. What
// the queries return to ask means nothing; it is called once.
func (s *Store) ReadRaw(ctx context.Context, ask func(q *gendb.Queries), read func(query int, columns [][]byte) error) error {
	var asked questions
	ask(gendb.New(&asked))
	results := s.pool.SendBatch(ctx, &asked.batch)
	for query := range asked.batch.Len() {
		found, err := results.Query()
		for err == nil && found.Next() {
			if refused := read(query, found.RawValues()); refused != nil {
				_ = results.Close() // reads the rest
				return refused
			}
		}
		if err == nil {
			err = found.Err()
		}
		if err != nil {
			_ = results.Close() // tells the same
			return translate(err)
		}
	}
	return translate(results.Close())
}

// questions only notes what generated queries would have run.
type questions struct{ batch pgx.Batch }

var errNoted = errors.New("the query is only noted")

// Exec notes a statement.
func (q *questions) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	q.batch.Queue(sql, args...)
	return pgconn.CommandTag{}, errNoted
}

// Query notes a statement.
func (q *questions) Query(_ context.Context, sql string, args ...any) (pgx.Rows, error) {
	q.batch.Queue(sql, args...)
	return nil, errNoted
}

// QueryRow notes a statement.
func (q *questions) QueryRow(_ context.Context, sql string, args ...any) pgx.Row {
	q.batch.Queue(sql, args...)
	return noted{}
}

type noted struct{}

// Scan reads nothing.
func (noted) Scan(...any) error { return errNoted }
