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

// stack holds the processes and data of a run.
type stack struct {
	dir       string
	bin       string // the directory of PostgreSQL's programs
	secretKey string
	admin     string // the key of the first organization's administrator
	postgres  *localpg.Server
	server    *harness.Process
	reference *harness.Process
	cleanups  []func() error // stop everything else that was started
	data
}

// newBench builds the server and starts it with a PostgreSQL of its own. It must run in the root of
// the source tree.
func newBench(ctx context.Context, o options) (_ *bench, err error) {
	dir, err := os.MkdirTemp(o.parent, "parley-bench-")
	if err != nil {
		return nil, err
	}
	s := &stack{dir: dir, secretKey: secret.NewKey(), admin: "bench_admin." + rand.Text()}
	b := &bench{stack: s, options: o, thisRound: map[string]sample{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	// If this is root, PostgreSQL runs as another user, who needs access.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	if s.bin, err = localpg.FindBinaries(os.Getenv("PARLEY_POSTGRES_BIN")); err != nil {
		return nil, err
	}
	b.logf("build and start the server")
	if output, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", s.program(), "./cmd/server").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the server (in the root of the source tree): %w\n%s", err, output)
	}
	if s.postgres, err = localpg.Start(ctx, localpg.Config{
		// Enough for up to two servers at a time, and pgbench.
		Dir: filepath.Join(dir, "data"), BinDir: s.bin, Settings: map[string]string{"max_connections": "200"},
	}); err != nil {
		return nil, err
	}
	if s.server, err = s.startServer(ctx); err != nil {
		return nil, err
	}
	s.reference, err = harness.StartSelf(ctx, s.dir, "reference", []byte(s.url()))
	return b, err
}

// startServer starts a server with additional environment variables.
func (s *stack) startServer(ctx context.Context, env ...string) (*harness.Process, error) {
	p, err := harness.Start(ctx, s.dir, s.program(), nil, append(s.env(), env...))
	if err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	return p, nil
}

func (s *stack) url() string { return s.postgres.URL("postgres") }

func (s *stack) program() string { return filepath.Join(s.dir, "parley") }

// env returns the environment of a server: all limits are on, but too high to be reached.
func (s *stack) env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"DATABASE_URL=" + s.url(),
		"PARLEY_SECRET_KEY=" + s.secretKey,
		"PARLEY_MODEL_NETWORKS=127.0.0.1",
		"PARLEY_BOOTSTRAP_KEY=" + s.admin,
		"PARLEY_DATA_DIR=" + s.dir,
		"PARLEY_ANONYMOUS=on",
		"PARLEY_ADDR=127.0.0.1:0",
		"PARLEY_DEBUG_ADDR=127.0.0.1:0", // metrics are on
		"PARLEY_RATE_LIMITS=messages=2000000000,history=2000000000,list=2000000000,reads=2000000000,writes=2000000000,reports=2000000000",
		"PARLEY_SOCKET_LIMITS=user=2000000000,address=2000000000",
	}
}

// stop ends all processes and removes the directory.
func (s *stack) stop() error {
	var errs []error
	for _, cleanup := range s.cleanups {
		errs = append(errs, cleanup())
	}
	for _, process := range []*harness.Process{s.reference, s.server} {
		if process != nil {
			errs = append(errs, process.Stop())
		}
	}
	if s.postgres != nil {
		errs = append(errs, s.postgres.Stop(context.Background())) // also after the run was cancelled
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// get requests JSON from the server.
func (s *stack) get(ctx context.Context, key, path string, result any) error {
	return harness.Call(ctx, http.MethodGet, s.server.Base+path, key, nil, result)
}
