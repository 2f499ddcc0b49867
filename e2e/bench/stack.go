package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"parley/e2e/harness"
	"parley/internal/localpg"
	"parley/internal/secret"
)

// stack is all that the bench has started.
type stack struct {
	dir       string
	bin       string // the directory of PostgreSQL's programs
	secretKey string
	admin     string // the key of the first organization's administrator
	postgres  *localpg.Server
	server    *harness.Process
	bare      *harness.Process
	others    []func() error // end what else was started
	data
}

// begin builds the server and starts it over a PostgreSQL of its own.
func begin(ctx context.Context, o options) (_ *bench, err error) {
	dir, err := os.MkdirTemp(o.parent, "parley-bench-")
	if err != nil {
		return nil, err
	}
	s := &stack{dir: dir, secretKey: secret.NewKey(), admin: "bench_admin." + rand.Text()}
	b := &bench{stack: s, options: o, taken: map[string]sample{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	// Root runs PostgreSQL as another user, who must get in.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	if s.bin, err = localpg.FindBinaries(os.Getenv("PARLEY_POSTGRES_BIN")); err != nil {
		return nil, err
	}
	b.say("build the server and start it")
	if said, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", s.program(), "./cmd/server").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the server (in the root of the source): %w\n%s", err, said)
	}
	if s.postgres, err = localpg.Start(ctx, localpg.Config{
		// Two servers at a time, and pgbench.
		Dir: filepath.Join(dir, "data"), BinDir: s.bin, Settings: map[string]string{"max_connections": "200"},
	}); err != nil {
		return nil, err
	}
	if s.server, err = s.startServer(ctx); err != nil {
		return nil, err
	}
	s.bare, err = harness.StartSelf(ctx, s.dir, "reference", []byte(s.url()))
	return b, err
}

// startServer starts a server with further variables of its environment.
func (s *stack) startServer(ctx context.Context, further ...string) (*harness.Process, error) {
	c, err := harness.Start(ctx, s.dir, s.program(), nil, append(s.environment(), further...))
	if err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	return c, nil
}

func (s *stack) url() string { return s.postgres.URL("postgres") }

func (s *stack) program() string { return filepath.Join(s.dir, "parley") }

// environment is a server's: all limits are on, and so high that none is met.
func (s *stack) environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"DATABASE_URL=" + s.url(),
		"PARLEY_SECRET_KEY=" + s.secretKey,
		"PARLEY_BOOTSTRAP_KEY=" + s.admin,
		"PARLEY_DATA_DIR=" + s.dir,
		"PARLEY_ADDR=127.0.0.1:0",
		"PARLEY_DEBUG_ADDR=127.0.0.1:0", // its metrics are kept, though nobody reads them
		"PARLEY_RATE_LIMITS=messages=2000000000,history=2000000000,list=2000000000",
		"PARLEY_SOCKET_LIMITS=user=2000000000,address=2000000000",
	}
}

// stop ends everything and removes it.
func (s *stack) stop() error {
	var errs []error
	for _, end := range s.others {
		errs = append(errs, end())
	}
	for _, one := range []*harness.Process{s.bare, s.server} {
		if one != nil {
			errs = append(errs, one.Stop())
		}
	}
	if s.postgres != nil {
		errs = append(errs, s.postgres.Stop(context.Background())) // also when the bench is to end
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// get asks the server for something that must be there.
func (s *stack) get(ctx context.Context, key, path string, into any) error {
	return harness.Call(ctx, http.MethodGet, s.server.Base+path, key, nil, into)
}
