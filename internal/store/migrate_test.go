package store_test

import (
	"context"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"

	"parley/db"
	"parley/internal/dbtest"
	"parley/internal/store"
)

// A new version can start and migrate the schema while the previous one serves requests.
func TestMigrationDoesNotBlockWritesWhileItWaitsForALock(t *testing.T) {
	t.Parallel()
	// given a database in use, and a long transaction
	url := dbtest.URL(t)
	s := open(t, url)
	long, err := connect(t, url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := long.QueryRow(t.Context(), "SELECT count(*) FROM organizations").Scan(&n); err != nil {
		t.Fatal(err)
	}
	written, stop := startWriters(t, s)

	// when a migration needs an exclusive lock on the table
	log := &lineLog{}
	migrated := make(chan error, 1)
	go func() {
		schema, err := store.Migrate(t.Context(), url, withMigration(t, "ALTER TABLE organizations ADD COLUMN more text NOT NULL DEFAULT 'more';"), slog.New(slog.NewTextHandler(log, nil)))
		if err == nil && schema != 99999 {
			t.Errorf("the schema version is %d", schema)
		}
		migrated <- err
	}()

	// then it retries while the writers proceed
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for before := written.Load(); strings.Count(log.String(), "migrate the database: wait") < 3 || written.Load() < before+100; {
		select {
		case <-tick.C:
		case err := <-migrated:
			t.Fatalf("it did not wait: %v", err)
		case <-deadline:
			t.Fatalf("it waited %d times, during %d writes", strings.Count(log.String(), "migrate the database: wait"), written.Load())
		}
	}

	// and it succeeds once the transaction has ended
	if err := long.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
	if slowest := stop(); slowest > 5*time.Second { // half a second on an idle machine
		t.Errorf("a write took %s", slowest)
	}
	var more int
	if err := store.Raw(s).QueryRow(t.Context(), "SELECT count(*) FROM organizations WHERE more = 'more'").Scan(&more); err != nil || int64(more) != written.Load() {
		t.Errorf("%d of %d rows have the new column: %v", more, written.Load(), err)
	}
}

// startWriters starts goroutines that insert organizations. stop waits for their end and returns
// the duration of the slowest insert.
func startWriters(t *testing.T, s *store.Store) (written *atomic.Int64, stop func() (slowest time.Duration)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	written = new(atomic.Int64)
	var writers sync.WaitGroup
	slowest := make([]time.Duration, 4)
	for writer := range slowest {
		writers.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				if _, err := s.CreateOrganization(context.WithoutCancel(ctx), uuid.New(), uuid.NewString()); err != nil {
					t.Error(err)
					return
				}
				written.Add(1)
				slowest[writer] = max(slowest[writer], time.Since(start))
			}
		})
	}
	stop = func() time.Duration {
		cancel()
		writers.Wait()
		return slices.Max(slowest)
	}
	t.Cleanup(func() { stop() })
	return written, stop
}

func TestFailedMigrationIsNotRetried(t *testing.T) {
	t.Parallel()
	if _, err := store.Migrate(t.Context(), dbtest.URL(t), withMigration(t, "ALTER TABLE nowhere ADD COLUMN more text;"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error")
	}
}

// withMigration returns the migrations and an additional one.
func withMigration(t *testing.T, statement string) fs.FS {
	t.Helper()
	files := fstest.MapFS{"99999_later.sql": {Data: []byte("-- +goose Up\n" + statement + "\n")}}
	names, err := fs.Glob(db.Migrations, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := fs.ReadFile(db.Migrations, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	return files
}
