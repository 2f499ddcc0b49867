package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

const (
	// migrationLockTimeout is how long a migration waits for a lock. Other statements for the table
	// queue behind it, so it gives up quickly, lets them pass and retries.
	migrationLockTimeout = "500ms"
	// minMigrationPause is the first pause before a retry; each pause doubles up to
	// maxMigrationPause.
	minMigrationPause = 250 * time.Millisecond
	maxMigrationPause = 10 * time.Second
	// maxMigrationTime bounds all attempts together.
	maxMigrationTime = 15 * time.Minute
)

// migrate applies the pending migrations and returns the version of the newest one. Other programs may use the
// database meanwhile. They are delayed by at most migrationLockTimeout plus the time for which a migration holds its
// locks. Programs that migrate at the same time take turns.
func migrate(ctx context.Context, config *pgx.ConnConfig, files fs.FS, log *slog.Logger) (version int64, err error) {
	// The timeouts of ordinary statements do not apply: a migration may take as long as the data
	// needs.
	config = config.Copy()
	setSettings(config, map[string]string{
		"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "lock_timeout": migrationLockTimeout,
		"enable_seqscan": "on", // migrations read whole tables
	})
	handle := stdlib.OpenDB(*config)
	defer handle.Close()
	// Poll every second, for up to ten minutes, until another program has finished.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600))
	if err != nil {
		return 0, fmt.Errorf("create the migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, handle, files, goose.WithSessionLocker(locker))
	if err != nil {
		return 0, fmt.Errorf("read the migrations: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, maxMigrationTime)
	defer cancel()
	for pause := minMigrationPause; ; pause = min(2*pause, maxMigrationPause) {
		_, err := provider.Up(ctx) // a retry skips the migrations that were applied
		if err == nil {
			break
		}
		if !isLocked(err) {
			return 0, fmt.Errorf("migrate the database: %w", err)
		}
		log.Warn("migrate the database: wait for a lock", "err", err, "retry_in_ms", pause.Milliseconds())
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, fmt.Errorf("migrate the database: %w", errors.Join(ctx.Err(), err))
		}
	}
	sources := provider.ListSources() // ordered by version
	return sources[len(sources)-1].Version, nil
}

// isLocked reports whether a migration failed because of another transaction's locks.
func isLocked(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == lockTimeout || lostRace(err)
}
