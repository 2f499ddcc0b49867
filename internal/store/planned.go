package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	gendb "parley/gen/db"
)

// PlannedOnce returns the queries, those of many rows planned once on each connection for
// any parameters. It is for a statement that takes longer to plan than to run, and that is
// run in the same way whatever is asked: as long as PostgreSQL takes a plan for the very
// parameters to be a little cheaper, it makes one each time.
func (s *Store) PlannedOnce() *gendb.Queries {
	if s.within != nil {
		return s.within // a transaction's other statements are planned as they were
	}
	return gendb.New(translator{on: plannedOnce{s.pool}, retries: maxRetries})
}

// plannedOnce runs queries each in a transaction that has its statement planned once, in
// one round trip.
type plannedOnce struct{ *pgxpool.Pool }

// Query runs a statement that returns rows.
func (p plannedOnce) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	var batch pgx.Batch
	batch.Queue("SET LOCAL plan_cache_mode = force_generic_plan")
	batch.Queue(sql, args...)
	results := p.SendBatch(ctx, &batch)
	if _, err := results.Exec(); err != nil {
		_ = results.Close() // tells the same
		return nil, err
	}
	found, err := results.Query()
	if err != nil {
		_ = results.Close() // tells the same
		return nil, err
	}
	return lastRows{Rows: found, of: results}, nil
}

// lastRows are the last of a batch, which ends with them.
type lastRows struct {
	pgx.Rows
	of pgx.BatchResults
}

// Next reads the next row; after the last one the batch is over.
func (r lastRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Close gives the connection back.
func (r lastRows) Close() {
	r.Rows.Close()
	_ = r.of.Close() // tells what Err does
}
