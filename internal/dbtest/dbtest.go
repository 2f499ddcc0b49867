// Package dbtest gives each test a fresh migrated database.
//
// All tests of a process share one private PostgreSQL, started by the first of
// them, in memory where there is such a file system. It is migrated once; each
// test gets a copy. Nothing is shared between processes, so that packages may be
// tested side by side.
//
// A package that uses it calls Main from its TestMain. A run that was killed
// takes its server with it and leaves a directory, which the next run removes.
//
// Open and URL may be called by parallel tests, but not inside a bubble of
// testing/synctest, which the connections would never let come to rest.
package dbtest

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"parley/internal/localpg"
	"parley/internal/store"
)

const template = "parley_template"

// Main runs the tests, ends the server that they have started, removes its
// directory and exits. Each of checks looks back on a run that has passed: what it
// returns fails the run.
func Main(m *testing.M, checks ...func() error) {
	// Most tests wait, for a database or for time to pass, rather than compute.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	code := m.Run()
	for _, check := range checks {
		if code != 0 {
			break
		}
		if err := check(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Open returns a store on a fresh migrated database. Both are gone after the
// test; of a failed test the database stays until the process ends, and the
// test's log tells its address.
func Open(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), URL(t))
	if err != nil {
		t.Fatalf("open the test's database: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// URL returns the connection string of a fresh migrated database, for tests that
// start whole servers. It lives as long as that of Open; connections that are
// still open after the test are cut.
func URL(t testing.TB) string {
	t.Helper()
	return database(t, template)
}

// Empty returns the connection string of a fresh database with nothing in it. It
// lives as long as that of Open.
func Empty(t testing.TB) string {
	t.Helper()
	return database(t, "template0")
}

func database(t testing.TB, template string) string {
	t.Helper()
	if err := shared.start(); err != nil {
		t.Fatalf("start PostgreSQL for the tests: %v", err)
	}
	name, err := shared.copy(t.Context(), template)
	if err != nil {
		t.Fatalf("make a database for the test: %v", err)
	}
	url := shared.server.URL(name)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the test's database, as long as this process lives: %s", url)
			return
		}
		// The test's own context has ended by now.
		if err := shared.drop(context.WithoutCancel(t.Context()), name); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return url
}

var shared cluster

// cluster is the process's private PostgreSQL.
type cluster struct {
	once   sync.Once
	err    error // of the start
	dir    string
	server *localpg.Server
	admin  *pgxpool.Pool // creates and drops

	// copying is held while a template is copied: it may have one reader.
	copying sync.Mutex
	copies  atomic.Int64
}

// start starts the server when no test has done so; all hear of its failure.
func (c *cluster) start() error {
	c.once.Do(func() { c.err = c.open(context.Background()) }) // it outlives the first test
	return c.err
}

func (c *cluster) open(ctx context.Context) error {
	dir, err := makeDir()
	if err != nil {
		return err
	}
	c.dir = dir
	c.server, err = localpg.Start(ctx, localpg.Config{Dir: dir, Settings: map[string]string{
		// Nothing in it has to outlast the process.
		"fsync":              "off",
		"synchronous_commit": "off",
		"full_page_writes":   "off",
		// Every test has a pool of its own.
		"max_connections": "300",
		// A database does not live long enough to need it, and a copy would wait for it.
		"autovacuum": "off",
	}})
	if err != nil {
		return err
	}
	if c.admin, err = pgxpool.New(ctx, c.server.URL("postgres")); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return c.makeTemplate(ctx)
}

// makeTemplate migrates the database that the tests get copies of, and closes it:
// no connection may be open while it is copied.
func (c *cluster) makeTemplate(ctx context.Context) error {
	if _, err := c.admin.Exec(ctx, "CREATE DATABASE "+template); err != nil {
		return fmt.Errorf("create the template: %w", err)
	}
	migrated, err := store.Open(ctx, c.server.URL(template))
	if err != nil {
		return fmt.Errorf("migrate the template: %w", err)
	}
	// A server would do so as soon as it has started.
	err = migrated.SetSearchIndex(ctx, slog.New(slog.DiscardHandler), true)
	migrated.Close()
	if err != nil {
		return fmt.Errorf("set the template's search index: %w", err)
	}
	if _, err := c.admin.Exec(ctx, "ALTER DATABASE "+template+" ALLOW_CONNECTIONS false"); err != nil {
		return fmt.Errorf("close the template: %w", err)
	}
	return nil
}

// copy makes a database like the template. FILE_COPY is the faster strategy where
// syncing costs nothing.
func (c *cluster) copy(ctx context.Context, template string) (string, error) {
	name := "test_" + strconv.FormatInt(c.copies.Add(1), 10)
	c.copying.Lock()
	defer c.copying.Unlock()
	_, err := c.admin.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template+" STRATEGY FILE_COPY")
	return name, err
}

func (c *cluster) drop(ctx context.Context, name string) error {
	_, err := c.admin.Exec(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
	return err
}

// stop ends what start has started, as far as it got.
func (c *cluster) stop() error {
	if c.admin != nil {
		c.admin.Close()
	}
	if c.server != nil {
		if err := c.server.Stop(context.Background()); err != nil {
			return err
		}
	}
	if c.dir != "" {
		return os.RemoveAll(c.dir)
	}
	return nil
}
