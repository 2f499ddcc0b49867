package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	gendb "parley/gen/db"
)

// GenericPlan returns the queries, those of many rows planned once on each connection for
// any parameters. It is for a statement that takes longer to plan than to run, and that is
// run in the same way whatever is asked: as long as PostgreSQL takes a plan for the very
// parameters to be a little cheaper, it makes one each time.
func (s *Store) GenericPlan() *gendb.Queries {
	if s.within != nil {
		return s.within // a transaction's other statements are planned as they were
	}
	return gendb.New(translator{on: plannedOnce(s.pool), retries: maxRetries})
}

func plannedOnce(pool *pgxpool.Pool) setting {
	return setting{pool, "SET LOCAL plan_cache_mode = force_generic_plan"}
}

// setting runs queries of rows each in a transaction of its own that something is set in, in
// one round trip.
type setting struct {
	*pgxpool.Pool
	set string
}

// Query runs a statement that returns rows.
func (s setting) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	var batch pgx.Batch
	batch.Queue(s.set)
	batch.Queue(sql, args...)
	results := s.SendBatch(ctx, &batch)
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
