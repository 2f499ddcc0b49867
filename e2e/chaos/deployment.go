package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"parley/e2e/harness"
	"parley/internal/localpg"
	"parley/internal/secret"
)

// suite is shared by all deployments of a run.
type suite struct {
	dir     string
	program string // the server
	bin     string // the directory of PostgreSQL's programs
}

// newSuite builds the server. It must run in the root of the source tree. If its directory exists, the suite is
// returned even with an error.
func newSuite(ctx context.Context, parent string) (*suite, error) {
	dir, err := os.MkdirTemp(parent, "parley-chaos-")
	if err != nil {
		return nil, err
	}
	s := &suite{dir: dir, program: filepath.Join(dir, "parley")}
	// If this is root, PostgreSQL runs as another user, who needs access.
	if err := os.Chmod(dir, 0o755); err != nil {
		return s, err
	}
	if s.bin, err = localpg.FindBinaries(os.Getenv("PARLEY_POSTGRES_BIN")); err != nil {
		return s, err
	}
	if output, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", s.program, "./cmd/server").CombinedOutput(); err != nil {
		return s, fmt.Errorf("build the server (in the root of the source tree): %w\n%s", err, output)
	}
	return s, nil
}

// deployment is two servers with their PostgreSQL, Redis and model server, and a link between each
// pair.
type deployment struct {
	*suite
	dir      string
	random   *mathrand.Rand
	key      string
	secret   string
	servers  [2]*server
	postgres *postgres
	redis    *daemon
	model    *harness.Process
	toModel  *link
	unmount  func() error // nil: nothing is mounted
	conn     *pgx.Conn    // to the database, not over a link
}

// server is one of the two servers, with its links to its clients and its stores.
type server struct {
	name        string
	port, debug int
	env         []string
	process     *harness.Process // nil while it is not running

	clients, toPostgres, toRedis *link
	atStartup                    metrics // before the first request
}

// deploy starts everything. If megabytes is not 0, the database is on a file system of that size,
// in memory.
func (s *suite) deploy(ctx context.Context, name string, seed uint64, megabytes int) (_ *deployment, err error) {
	d := &deployment{
		suite: s, dir: filepath.Join(s.dir, name), random: mathrand.New(mathrand.NewPCG(seed, 1)),
		key: "chaos_admin." + rand.Text(), secret: secret.NewKey(),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	if err := d.startStores(ctx, megabytes); err != nil {
		return nil, err
	}
	for i := range d.servers {
		if d.servers[i], err = d.newServer(string(rune('A' + i))); err != nil {
			return nil, err
		}
	}
	for _, server := range d.servers {
		if err := d.startServer(ctx, server); err != nil {
			return nil, err
		}
		if server.atStartup, err = server.readMetrics(ctx); err != nil {
			return nil, err
		}
	}
	d.conn, err = pgx.Connect(ctx, d.postgres.url(d.postgres.port))
	return d, err
}

// startStores starts PostgreSQL, Redis and the model server.
func (d *deployment) startStores(ctx context.Context, megabytes int) (err error) {
	database := filepath.Join(d.dir, "database")
	if err := os.MkdirAll(database, 0o755); err != nil {
		return err
	}
	if megabytes > 0 {
		if d.unmount, err = mountTmpfs(database, megabytes); err != nil {
			return err
		}
	}
	if d.postgres, err = newPostgres(ctx, d.bin, database, freePort()); err != nil {
		return err
	}
	if d.redis, err = newRedis(ctx, d.dir, freePort()); err != nil {
		return err
	}
	if d.model, err = harness.StartSelf(ctx, d.dir, "model", nil); err != nil {
		return err
	}
	d.toModel, err = newLink("model", portOf(d.model.Base))
	return err
}

func (d *deployment) newServer(name string) (*server, error) {
	s := &server{name: name, port: freePort(), debug: freePort()}
	var err error
	for _, l := range []struct {
		link **link
		name string
		to   int
	}{{&s.clients, "clients", s.port}, {&s.toPostgres, "postgres", d.postgres.port}, {&s.toRedis, "redis", d.redis.port}} {
		if *l.link, err = newLink(name+"-"+l.name, l.to); err != nil {
			return nil, err
		}
	}
	s.env = []string{
		"PATH=" + os.Getenv("PATH"),
		"DATABASE_URL=" + d.postgres.url(s.toPostgres.port()),
		fmt.Sprintf("REDIS_URL=redis://%s/0", address(s.toRedis.port())),
		"PARLEY_SECRET_KEY=" + d.secret,
		"PARLEY_MODEL_NETWORKS=127.0.0.1",
		"PARLEY_BOOTSTRAP_KEY=" + d.key,
		"PARLEY_DATA_DIR=" + d.dir,
		"PARLEY_ANONYMOUS=on",
		"PARLEY_ADDR=" + address(s.port),
		"PARLEY_DEBUG_ADDR=" + address(s.debug),
		"PARLEY_RATE_LIMITS=messages=2000000000,history=2000000000,list=2000000000,reads=2000000000,writes=2000000000,reports=2000000000",
		"PARLEY_SOCKET_LIMITS=user=2000000000,address=2000000000",
	}
	return s, nil
}

func (d *deployment) startServer(ctx context.Context, s *server) (err error) {
	s.process, err = harness.Start(ctx, d.dir, d.program, nil, s.env)
	if err != nil {
		return fmt.Errorf("start server %s: %w", s.name, err)
	}
	return nil
}

// signal sends a signal without waiting for its effect.
func (s *server) signal(signal syscall.Signal) error { return syscall.Kill(s.process.Pid(), signal) }

func (s *server) kill() error {
	process := s.process
	s.process = nil
	return process.Kill()
}

// stop shuts the server down with SIGTERM.
func (s *server) stop() error {
	process := s.process
	s.process = nil
	return process.Stop()
}

// stop ends all processes of the deployment.
func (d *deployment) stop() error {
	if d.conn != nil {
		_ = d.conn.Close(context.Background()) // the connection may be broken
	}
	errs := d.stopServers()
	for _, l := range d.allLinks() {
		l.cut()
	}
	if d.model != nil {
		errs = append(errs, d.model.Stop())
	}
	if d.redis != nil {
		d.redis.end(syscall.SIGKILL, false)
	}
	if d.postgres != nil {
		d.postgres.end(syscall.SIGQUIT, false)
	}
	if d.unmount != nil {
		errs = append(errs, d.unmount())
	}
	return errors.Join(errs...)
}

func (d *deployment) stopServers() []error {
	var stopping sync.WaitGroup
	errs := make([]error, len(d.servers))
	for i, s := range d.servers {
		if s != nil && s.process != nil {
			_ = s.signal(syscall.SIGCONT)
			stopping.Go(func() { errs[i] = s.stop() })
		}
	}
	stopping.Wait()
	return errs
}

// allLinks returns the links that exist.
func (d *deployment) allLinks() (all []*link) {
	candidates := []*link{d.toModel}
	for _, s := range d.servers {
		if s != nil {
			candidates = append(candidates, s.clients, s.toPostgres, s.toRedis)
		}
	}
	for _, l := range candidates {
		if l != nil {
			all = append(all, l)
		}
	}
	return all
}

// links returns the same link of both servers.
func (d *deployment) links(of func(*server) *link) []*link {
	return []*link{of(d.servers[0]), of(d.servers[1])}
}

func toClients(s *server) *link  { return s.clients }
func toPostgres(s *server) *link { return s.toPostgres }
func toRedis(s *server) *link    { return s.toRedis }

// freePort returns an unused port outside the range of ephemeral ports, so that a process that is
// started again can have it again.
func freePort() int {
	for {
		port := 10_000 + mathrand.IntN(20_000)
		listener, err := net.Listen("tcp", address(port)) //nolint:noctx // a loopback connection is answered or refused immediately
		if err == nil {
			listener.Close()
			return port
		}
	}
}

func portOf(base string) int {
	var port int
	_, _ = fmt.Sscanf(base[strings.LastIndex(base, ":")+1:], "%d", &port) // the process announced it
	return port
}

// setModelMode changes how the model server behaves.
func (d *deployment) setModelMode(ctx context.Context, mode string) error {
	return harness.Call(ctx, http.MethodPost, d.model.Base+"/mode", "", mode, new(bool))
}

// queryInt queries the database for a number. It connects again if the connection is broken.
func (d *deployment) queryInt(ctx context.Context, sql string) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for range 2 {
		if d.conn.IsClosed() {
			if d.conn, err = pgx.Connect(ctx, d.postgres.url(d.postgres.port)); err != nil {
				return 0, err
			}
		}
		if err = d.conn.QueryRow(ctx, sql).Scan(&n); err == nil || !d.conn.IsClosed() {
			return n, err
		}
	}
	return 0, err
}
