package store

import (
	"context"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	gendb "parley/gen/db"
)

// WithReadTimeout replaces the default read timeout.
func WithReadTimeout(timeout time.Duration) Option {
	return func(o *options) { o.readTimeout = timeout }
}

// Raw runs the statements of a test as generated queries run.
func Raw(s *Store) gendb.DBTX { return translator{on: s.pool, retries: maxRetries} }

// RawGenericPlan runs the statements of a test as the queries of GenericPlan run.
func RawGenericPlan(s *Store) gendb.DBTX {
	return translator{on: withGenericPlan(s.pool), retries: maxRetries}
}

// Migrate applies migrations other than the current ones.
func Migrate(ctx context.Context, url string, files fs.FS, log *slog.Logger) (int64, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return 0, err
	}
	return migrate(ctx, config, files, log)
}
