package store

import (
	"context"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	gendb "parley/gen/db"
)

// WithReadTimeout replaces the default read timeout.
func WithReadTimeout(timeout time.Duration) Option {
	return func(o *options) { o.readTimeout = timeout }
}

// Raw executes the statements of a test in the same way as generated queries.
func Raw(s *Store) gendb.DBTX { return translator{on: s.pool, retries: maxRetries} }

// RawGenericPlan executes the statements of a test in the same way as the queries of GenericPlan.
func RawGenericPlan(s *Store) gendb.DBTX {
	return translator{on: withGenericPlan(s.pool), retries: maxRetries}
}

// Migrate applies the given migrations instead of the current ones.
func Migrate(ctx context.Context, url string, files fs.FS, log *slog.Logger) (int64, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return 0, err
	}
	return migrate(ctx, config, files, log)
}

// PoolOfReports returns the statistics of the connections of reports.
func PoolOfReports(s *Store) *pgxpool.Stat { return s.reports.pool.Stat() }
