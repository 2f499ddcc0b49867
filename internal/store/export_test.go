package store

import (
	"context"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	gendb "parley/gen/db"
)

// WithSilence has an answer have another time to begin.
func WithSilence(silence time.Duration) Option {
	return func(o *options) { o.silence = silence }
}

// Raw runs statements of a test's own as the generated queries run theirs.
func Raw(s *Store) gendb.DBTX { return translator{on: s.pool, retries: maxRetries} }

// RawPlannedOnce runs them as the queries of GenericPlan run.
func RawPlannedOnce(s *Store) gendb.DBTX {
	return translator{on: plannedOnce(s.pool), retries: maxRetries}
}

// Migrate brings a database to the schema of a version that is still to come.
func Migrate(ctx context.Context, url string, files fs.FS, log *slog.Logger) (int64, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return 0, err
	}
	return migrate(ctx, config, files, log)
}
