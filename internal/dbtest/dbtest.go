// Package dbtest gives each test a fresh migrated database.
//
// All tests of a process share one private PostgreSQL, which the first of them starts, in memory
// where possible. A template database is migrated once and copied for each test. Processes share
// nothing, so packages can be tested in parallel.
//
// A package that uses dbtest calls Main from its TestMain. The server of a killed test process ends
// with it; the directory that remains is removed by the next process.
//
// Open and URL may be called from parallel tests, but not inside a bubble of testing/synctest, in
// which the connections would never become idle.
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

// Main runs the tests, stops the server that they started, removes its directory and exits. The checks run if the
// tests have passed. An error of a check fails the run.
func Main(m *testing.M, checks ...func() error) {
	// Most tests wait for a database or for time to pass, not for the CPU.
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

// Open returns a store on a fresh migrated database. Both are removed after the test. The database
// of a failed test remains until the process ends, and the test's log shows its URL.
func Open(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), URL(t))
	if err != nil {
		t.Fatalf("open the test database: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// URL returns the URL of a fresh migrated database, for tests that start whole servers. It is removed like that of
// Open. Connections that are still open after the test are terminated.
func URL(t testing.TB) string {
	t.Helper()
	return database(t, template)
}

// Empty returns the URL of a fresh empty database. It is removed like that of Open.
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
		t.Fatalf("create the test database: %v", err)
	}
	url := shared.server.URL(name)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the test database, until this process ends: %s", url)
			return
		}
		// The context of the test has ended.
		if err := shared.drop(context.WithoutCancel(t.Context()), name); err != nil {
			t.Errorf("drop the test database: %v", err)
		}
	})
	return url
}

var shared cluster

// cluster is the private PostgreSQL of the process.
type cluster struct {
	once   sync.Once
	err    error // of the start
	dir    string
	server *localpg.Server
	admin  *pgxpool.Pool // creates and drops databases

	// copying is held while a template is copied, because CREATE DATABASE needs exclusive access to the template.
	copying sync.Mutex
	copies  atomic.Int64
}

// start starts the server on the first call. Every call returns the error of the start.
func (c *cluster) start() error {
	c.once.Do(func() { c.err = c.open(context.Background()) }) // the server outlives the first test
	return c.err
}

func (c *cluster) open(ctx context.Context) error {
	dir, err := makeDir()
	if err != nil {
		return err
	}
	c.dir = dir
	c.server, err = localpg.Start(ctx, localpg.Config{Dir: dir, Settings: map[string]string{
		// The data need not survive the process.
		"fsync":              "off",
		"synchronous_commit": "off",
		"full_page_writes":   "off",
		// Every test has its own pool.
		"max_connections": "300",
		// Autovacuum would not finish in a short-lived database, and copying a template would wait for it.
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

// makeTemplate creates and migrates the template. It then refuses connections, because a database
// in use cannot be copied.
func (c *cluster) makeTemplate(ctx context.Context) error {
	if _, err := c.admin.Exec(ctx, "CREATE DATABASE "+template); err != nil {
		return fmt.Errorf("create the template: %w", err)
	}
	migrated, err := store.Open(ctx, c.server.URL(template))
	if err != nil {
		return fmt.Errorf("migrate the template: %w", err)
	}
	// A server builds the search index in the background after its start.
	err = migrated.SetSearchIndex(ctx, slog.New(slog.DiscardHandler), true)
	migrated.Close()
	if err != nil {
		return fmt.Errorf("build the template's search index: %w", err)
	}
	if _, err := c.admin.Exec(ctx, "ALTER DATABASE "+template+" ALLOW_CONNECTIONS false"); err != nil {
		return fmt.Errorf("close the template: %w", err)
	}
	return nil
}

// copy creates a database from a template. FILE_COPY is the faster strategy without fsync.
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

// stop stops the server and closes its connections, even if start failed halfway.
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
