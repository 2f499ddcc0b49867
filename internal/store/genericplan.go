package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	gendb "parley/gen/db"
)

// GenericPlan returns queries whose statements with many rows use a generic plan, made once per
// connection. It is for statements that take longer to plan than to run and whose best plan does
// not depend on the parameters: by default PostgreSQL plans such a statement for every call while
// it estimates the custom plan to be slightly cheaper.
func (s *Store) GenericPlan() *gendb.Queries {
	if s.within != nil {
		return s.within // a setting would affect the transaction's other statements
	}
	return gendb.New(translator{on: withGenericPlan(s.pool), retries: maxRetries})
}

func withGenericPlan(pool *pgxpool.Pool) withSetting {
	return withSetting{pool, "SET LOCAL plan_cache_mode = force_generic_plan"}
}

// withSetting runs each query in a transaction with a local setting, in one round trip. Exec and
// QueryRow ignore the setting.
type withSetting struct {
	*pgxpool.Pool
	setting string
}

// Query runs a statement that returns rows.
func (s withSetting) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	var batch pgx.Batch
	batch.Queue(s.setting)
	batch.Queue(sql, args...)
	results := s.SendBatch(ctx, &batch)
	if _, err := results.Exec(); err != nil {
		_ = results.Close() // returns the same error
		return nil, err
	}
	found, err := results.Query()
	if err != nil {
		_ = results.Close() // returns the same error
		return nil, err
	}
	return lastRows{Rows: found, results: results}, nil
}

// lastRows are the rows of a batch's last statement. Closing them closes the batch.
type lastRows struct {
	pgx.Rows
	results pgx.BatchResults
}

// Next reads the next row, and closes the batch after the last one.
func (r lastRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Close releases the connection.
func (r lastRows) Close() {
	r.Rows.Close()
	_ = r.results.Close() // Err returns the same error
}
