package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	gendb "parley/gen/db"
)

// ReadRaw runs the queries that enqueue calls in one round trip, and passes each row to read as
// PostgreSQL sent it: the index of the query, from 0, and the columns, nil for NULL. That saves
// most of the cost of decoding a page of rows. The columns are valid until read returns. An error
// of read stops the reading and is returned unchanged. enqueue is called once and must ignore the
// results and errors of its calls.
func (s *Store) ReadRaw(ctx context.Context, enqueue func(q *gendb.Queries), read func(query int, columns [][]byte) error) error {
	var queued recorder
	enqueue(gendb.New(&queued))
	results := s.pool.SendBatch(ctx, &queued.batch)
	for query := range queued.batch.Len() {
		found, err := results.Query()
		for err == nil && found.Next() {
			if readErr := read(query, found.RawValues()); readErr != nil {
				_ = results.Close() // discards the rest
				return readErr
			}
		}
		if err == nil {
			err = found.Err()
		}
		if err != nil {
			_ = results.Close() // returns the same error
			return translate(err)
		}
	}
	return translate(results.Close())
}

// recorder implements gendb.DBTX by adding each statement to a batch without running it.
type recorder struct{ batch pgx.Batch }

var errRecorded = errors.New("the statement was only recorded")

// Exec records a statement.
func (r *recorder) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	r.batch.Queue(sql, args...)
	return pgconn.CommandTag{}, errRecorded
}

// Query records a statement.
func (r *recorder) Query(_ context.Context, sql string, args ...any) (pgx.Rows, error) {
	r.batch.Queue(sql, args...)
	return nil, errRecorded
}

// QueryRow records a statement.
func (r *recorder) QueryRow(_ context.Context, sql string, args ...any) pgx.Row {
	r.batch.Queue(sql, args...)
	return recordedRow{}
}

type recordedRow struct{}

// Scan scans nothing.
func (recordedRow) Scan(...any) error { return errRecorded }
