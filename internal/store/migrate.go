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
	// migrationLockTimeout is how long a migration waits for a lock. Whoever comes for the
	// table later waits behind it, so it gives up soon, lets them through and comes again.
	migrationLockTimeout = "500ms"
	// firstMigrationPause doubles with each try, up to the longest.
	firstMigrationPause   = 250 * time.Millisecond
	longestMigrationPause = 10 * time.Second
	// migrationTime bounds it all.
	migrationTime = 15 * time.Minute
)

// migrate brings a database to the newest schema of the files, and returns its number.
// Other programs may use the database meanwhile: none waits for longer than a migration
// may wait for a lock, and a migration then takes.
func migrate(ctx context.Context, config *pgx.ConnConfig, files fs.FS, log *slog.Logger) (schema int64, err error) {
	// What is asked for over and over is bounded; this is done once, however much there is.
	patient := config.Copy()
	patient.RuntimeParams["statement_timeout"] = "0"
	patient.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	patient.RuntimeParams["lock_timeout"] = migrationLockTimeout
	patient.RuntimeParams["enable_seqscan"] = "on" // it is of whole tables, and no plan is kept
	handle := stdlib.OpenDB(*patient)
	defer handle.Close()
	// Looks every second, for up to ten minutes, whether another program is done.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600))
	if err != nil {
		return 0, fmt.Errorf("prepare the migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, handle, files, goose.WithSessionLocker(locker))
	if err != nil {
		return 0, fmt.Errorf("read the migrations: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, migrationTime)
	defer cancel()
	for pause := firstMigrationPause; ; pause = min(2*pause, longestMigrationPause) {
		_, err := provider.Up(ctx) // those that are done stay done
		if err == nil {
			break
		}
		if !isLocked(err) {
			return 0, fmt.Errorf("migrate the database: %w", err)
		}
		log.Warn("a migration waits for what others have locked, and lets them go on", "error", err, "tryAgainIn", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, fmt.Errorf("migrate the database: %w", errors.Join(ctx.Err(), err))
		}
	}
	sources := provider.ListSources() // in their order
	return sources[len(sources)-1].Version, nil
}

// isLocked tells whether a migration gave way to somebody else's transaction.
func isLocked(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == lockTimeout || lostRace(err)
}
