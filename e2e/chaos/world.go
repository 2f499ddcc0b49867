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

// theatre is what all trials of a run share: the program, and a directory.
type theatre struct {
	dir     string
	program string
	bin     string // the directory of PostgreSQL's programs
}

// open builds the server.
func open(ctx context.Context, parent string) (*theatre, error) {
	dir, err := os.MkdirTemp(parent, "parley-faults-")
	if err != nil {
		return nil, err
	}
	t := &theatre{dir: dir, program: filepath.Join(dir, "parley")}
	// Root runs PostgreSQL as another user, who must get in.
	if err := os.Chmod(dir, 0o755); err != nil {
		return t, err
	}
	if t.bin, err = localpg.FindBinaries(os.Getenv("PARLEY_POSTGRES_BIN")); err != nil {
		return t, err
	}
	if said, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", t.program, "./cmd/server").CombinedOutput(); err != nil {
		return t, fmt.Errorf("build the server (in the root of the source): %w\n%s", err, said)
	}
	return t, nil
}

// world is what a trial goes on in: two servers, and what they stand on, with a link
// between each pair.
type world struct {
	*theatre
	dir      string
	random   *mathrand.Rand
	key      string
	secret   string
	servers  [2]*server
	postgres *postgres
	redis    *daemon
	model    *harness.Child
	toModel  *link
	unmount  func() error // nil: nothing is mounted
	conn     *pgx.Conn    // to the database itself, over no link
}

// server is one of the two, with the links that lead to it and from it.
type server struct {
	name        string
	port, debug int
	environment []string
	process     *harness.Child // nil while it does not run

	clients, toPostgres, toRedis *link
	first                        vitals // when nothing had been asked of it yet
}

// begin starts everything. The database is in a file system of its own, in memory and of
// so many megabytes, where that is wanted.
func (t *theatre) begin(ctx context.Context, name string, seed uint64, megabytes int) (_ *world, err error) {
	w := &world{
		theatre: t, dir: filepath.Join(t.dir, name), random: mathrand.New(mathrand.NewPCG(seed, 1)),
		key: "faults_admin." + rand.Text(), secret: secret.NewKey(),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.end())
		}
	}()
	database := filepath.Join(w.dir, "database")
	if err := os.MkdirAll(database, 0o755); err != nil {
		return nil, err
	}
	if megabytes > 0 {
		if w.unmount, err = mountMemory(database, megabytes); err != nil {
			return nil, err
		}
	}
	if w.postgres, err = makePostgres(ctx, t.bin, database, w.freePort()); err != nil {
		return nil, err
	}
	if w.redis, err = makeRedis(ctx, w.dir, w.freePort()); err != nil {
		return nil, err
	}
	if w.model, err = harness.StartSelf(ctx, w.dir, "model", nil); err != nil {
		return nil, err
	}
	if w.toModel, err = newLink("model", portOf(w.model.Base)); err != nil {
		return nil, err
	}
	for i := range w.servers {
		if w.servers[i], err = w.newServer(string(rune('A' + i))); err != nil {
			return nil, err
		}
	}
	for _, s := range w.servers {
		if err := w.startServer(ctx, s); err != nil {
			return nil, err
		}
		if s.first, err = s.vitals(ctx); err != nil {
			return nil, err
		}
	}
	w.conn, err = pgx.Connect(ctx, w.postgres.url(w.postgres.port))
	return w, err
}

func (w *world) newServer(name string) (*server, error) {
	s := &server{name: name, port: w.freePort(), debug: w.freePort()}
	var err error
	for _, one := range []struct {
		link **link
		name string
		to   int
	}{{&s.clients, "clients", s.port}, {&s.toPostgres, "postgres", w.postgres.port}, {&s.toRedis, "redis", w.redis.port}} {
		if *one.link, err = newLink(name+"-"+one.name, one.to); err != nil {
			return nil, err
		}
	}
	s.environment = []string{
		"PATH=" + os.Getenv("PATH"),
		"DATABASE_URL=" + w.postgres.url(s.toPostgres.port()),
		fmt.Sprintf("REDIS_URL=redis://%s/0", address(s.toRedis.port())),
		"PARLEY_SECRET_KEY=" + w.secret,
		"PARLEY_BOOTSTRAP_KEY=" + w.key,
		"PARLEY_DATA_DIR=" + w.dir,
		"PARLEY_ADDR=" + address(s.port),
		"PARLEY_DEBUG_ADDR=" + address(s.debug),
		"PARLEY_RATE_LIMITS=messages=2000000000,history=2000000000,list=2000000000",
		"PARLEY_SOCKET_LIMITS=user=2000000000,address=2000000000",
	}
	return s, nil
}

func (w *world) startServer(ctx context.Context, s *server) (err error) {
	s.process, err = harness.Start(ctx, w.dir, w.program, nil, s.environment)
	if err != nil {
		return fmt.Errorf("start server %s: %w", s.name, err)
	}
	return nil
}

// signal is what a server cannot hinder: SIGKILL, SIGSTOP, SIGCONT, or the SIGTERM that
// somebody else waits for.
func (s *server) signal(signal syscall.Signal) error { return syscall.Kill(s.process.Pid(), signal) }

func (s *server) kill() error {
	process := s.process
	s.process = nil
	return process.Kill()
}

// stop ends it as an operator does.
func (s *server) stop() error {
	process := s.process
	s.process = nil
	return process.Stop()
}

// end ends everything.
func (w *world) end() error {
	var errs []error
	if w.conn != nil {
		_ = w.conn.Close(context.Background()) // it may be broken
	}
	var stopping sync.WaitGroup
	failed := make([]error, len(w.servers))
	for i, s := range w.servers {
		if s != nil && s.process != nil {
			_ = s.signal(syscall.SIGCONT)
			stopping.Go(func() { failed[i] = s.stop() })
		}
	}
	stopping.Wait()
	errs = append(errs, failed...)
	for _, s := range w.servers {
		if s == nil {
			continue
		}
		for _, one := range []*link{s.clients, s.toPostgres, s.toRedis} {
			if one != nil {
				one.cut()
			}
		}
	}
	if w.toModel != nil {
		w.toModel.cut()
	}
	if w.model != nil {
		errs = append(errs, w.model.Stop())
	}
	if w.redis != nil {
		w.redis.end(syscall.SIGKILL, false)
	}
	if w.postgres != nil {
		w.postgres.end(syscall.SIGQUIT, false)
	}
	if w.unmount != nil {
		errs = append(errs, w.unmount())
	}
	return errors.Join(errs...)
}

// links are all that lead from a server to the database, to Redis, or from the clients.
func (w *world) links(of func(*server) *link) []*link {
	return []*link{of(w.servers[0]), of(w.servers[1])}
}

func toClients(s *server) *link  { return s.clients }
func toPostgres(s *server) *link { return s.toPostgres }
func toRedis(s *server) *link    { return s.toRedis }

// freePort is a port that nobody uses, and that no connection is given as its own: what is
// started again must get it again.
func (w *world) freePort() int {
	for {
		port := 10_000 + mathrand.IntN(20_000)
		listener, err := net.Listen("tcp", address(port)) //nolint:noctx // loopback answers or refuses at once
		if err == nil {
			listener.Close()
			return port
		}
	}
}

func portOf(base string) int {
	var port int
	_, _ = fmt.Sscanf(base[strings.LastIndex(base, ":")+1:], "%d", &port) // as it was told
	return port
}

// behave tells the model server how to go on.
func (w *world) behave(ctx context.Context, how string) error {
	return harness.Call(ctx, http.MethodPost, w.model.Base+"/behave", "", how, new(bool))
}

// number asks the database for one, over another connection where the one there was is
// broken.
func (w *world) number(ctx context.Context, sql string) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for range 2 {
		if w.conn.IsClosed() {
			if w.conn, err = pgx.Connect(ctx, w.postgres.url(w.postgres.port)); err != nil {
				return 0, err
			}
		}
		if err = w.conn.QueryRow(ctx, sql).Scan(&n); err == nil || !w.conn.IsClosed() {
			return n, err
		}
	}
	return 0, err
}
