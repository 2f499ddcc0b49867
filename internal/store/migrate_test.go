package store_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"slices"
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

// notes is a log that can be read while it is written.
type notes struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notes) Write(line []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(line)
}

func (n *notes) count(words string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return bytes.Count(n.text.Bytes(), []byte(words))
}

// A version that is started beside the one before changes what everybody uses.
func TestAMigrationHoldsUpNobodyWhileItWaitsForALock(t *testing.T) {
	t.Parallel()
	// given a database in use, and a transaction in it that goes on and on
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
	ctx, end := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	defer crowd.Wait()
	defer end()
	var done atomic.Int64
	slowest := make([]time.Duration, 4)
	for member := range slowest {
		crowd.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				if _, err := s.CreateOrganization(t.Context(), uuid.New(), uuid.NewString()); err != nil {
					t.Error(err)
					return
				}
				done.Add(1)
				slowest[member] = max(slowest[member], time.Since(began))
			}
		})
	}

	// when a migration needs the table for itself
	var log notes
	migrated := make(chan error, 1)
	go func() {
		schema, err := store.Migrate(t.Context(), url, later(t, "ALTER TABLE organizations ADD COLUMN more text NOT NULL DEFAULT 'more';"), slog.New(slog.NewTextHandler(&log, nil)))
		if err == nil && schema != 99999 {
			t.Errorf("the schema is number %d", schema)
		}
		migrated <- err
	}()

	// then it comes again and again, and everybody goes on meanwhile
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for before := done.Load(); log.count("a migration waits") < 3 || done.Load() < before+100; {
		select {
		case <-tick.C:
		case err := <-migrated:
			t.Fatalf("it has not waited: %v", err)
		case <-deadline:
			t.Fatalf("it waited %d times, %d were served", log.count("a migration waits"), done.Load())
		}
	}

	// and it is done as soon as the transaction is over
	if err := long.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
	end()
	crowd.Wait()
	if took := slices.Max(slowest); took > 5*time.Second { // half a second, and a busy machine
		t.Errorf("somebody waited for %s", took)
	}
	var more int
	if err := store.Raw(s).QueryRow(t.Context(), "SELECT count(*) FROM organizations WHERE more = 'more'").Scan(&more); err != nil || int64(more) != done.Load() {
		t.Errorf("%d of %d have the new column: %v", more, done.Load(), err)
	}
}

func TestAMigrationThatIsWrongIsToldAtOnce(t *testing.T) {
	t.Parallel()
	if _, err := store.Migrate(t.Context(), dbtest.URL(t), later(t, "ALTER TABLE nowhere ADD COLUMN more text;"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("it was done")
	}
}

// later are the migrations, and one more.
func later(t *testing.T, statement string) fs.FS {
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
