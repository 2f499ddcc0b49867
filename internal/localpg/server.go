//go:build unix

package localpg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	superuser = "parley"
	port      = "5432" // only part of the socket's file name: nothing listens on TCP

	stopTimeout = 30 * time.Second // for a fast shutdown, if the caller's context allows more
	quitTimeout = 3 * time.Second  // for an immediate shutdown
)

// Server is a running PostgreSQL. It is safe for concurrent use.
type Server struct {
	socketDir string
	process   *os.Process
	done      chan struct{}
	isUp      atomic.Bool // true from readiness until Stop; an end while it is true is unexpected
}

// Start starts postgres on the cluster, which it creates if there is none, and returns when
// postgres accepts connections. If ctx ends first, Start stops postgres and returns an error;
// it does not affect a server that Start has returned. After an error no process is left.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	began := time.Now()
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	// Other users may enter it, since under root postgres runs as another user. What is in
	// it is closed to them.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the data directory: %w", err)
	}
	l, err := acquireLocks(ctx, dir)
	if err != nil {
		return nil, err
	}
	c, err := openCluster(ctx, dir, cfg, l)
	if err != nil {
		l.release()
		return nil, err
	}
	s, err := launch(dir, c, cfg.Settings, l, logger)
	if err != nil {
		return nil, err
	}
	if err := s.waitReady(ctx, c); err != nil {
		return nil, err
	}
	s.isUp.Store(true)
	logger.Info("start postgres: ready", "dir", c.path, "pid", s.Pid(), "duration_ms", time.Since(began).Milliseconds())
	return s, nil
}

// launch starts the postgres process. The locks are released when it ends, or now on an error.
func launch(dir string, c cluster, settings map[string]string, l locks, logger *slog.Logger) (*Server, error) {
	socketDir, err := makeSocketDir(dir, c.account)
	if err != nil {
		l.release()
		return nil, err
	}
	cleanUp := func() {
		removeSocketDir(dir)
		l.release()
	}
	log, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		cleanUp()
		return nil, fmt.Errorf("open the postgres log: %w", err)
	}
	defer log.Close()

	cmd := c.account.command(filepath.Join(c.bin, "postgres"), append(settingArgs(settings, socketDir), "-D", c.path)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{l.running}
	cmd.SysProcAttr = c.account.attributes(syscall.SIGINT) // a fast shutdown if this program dies

	s := &Server{socketDir: socketDir, done: make(chan struct{})}
	started := make(chan error)
	go s.run(cmd, started, func(exit error) {
		cleanUp()
		if s.isUp.Load() {
			logger.Error("postgres exited unexpectedly", "exit", exit, "log", c.logPath())
		}
	})
	if err := <-started; err != nil {
		<-s.done
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return s, nil
}

// run starts cmd, sends the result on started, waits until the process has ended, calls
// onEnd and closes done.
//
// INVARIANT: the goroutine keeps its thread from Start to Wait. The kernel's parent-death
// signal fires when the thread that forked ends, and the runtime ends idle threads.
func (s *Server) run(cmd *exec.Cmd, started chan<- error, onEnd func(exit error)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.done)

	if err := cmd.Start(); err != nil {
		onEnd(err)
		started <- err
		return
	}
	s.process = cmd.Process
	started <- nil
	onEnd(cmd.Wait())
}

// waitReady polls the status line of the pid file. Test connections would fill the log and
// count against max_connections. Crash recovery may take any time, so only ctx bounds it.
func (s *Server) waitReady(ctx context.Context, c cluster) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !c.isReady(s.Pid()) {
		select {
		case <-tick.C:
		case <-s.done:
			return fmt.Errorf("postgres exited before it was ready: %w", logTail(c.logPath()))
		case <-ctx.Done():
			// Stop gets a context of its own, since ctx has ended.
			stopErr := s.Stop(context.WithoutCancel(ctx))
			return fmt.Errorf("wait for postgres: %w", errors.Join(ctx.Err(), stopErr, logTail(c.logPath())))
		}
	}
	return nil
}

// URL returns a connection string for the superuser "parley" over the unix socket. The
// databases "postgres" and "template1" exist; the caller creates others.
func (s *Server) URL(database string) string { return connectionURL(s.socketDir, database) }

// Running returns a connection string for a database of the server that another program
// runs in dir, or false if none runs. That program may stop the server at any time.
func Running(dir, database string) (string, bool) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", false
	}
	socketDir, err := os.Readlink(socketLink(dir))
	if err != nil {
		return "", false
	}
	conn, err := net.Dial("unix", filepath.Join(socketDir, socketFile)) //nolint:noctx // a connection to a unix socket is answered or refused immediately
	if err != nil {
		return "", false
	}
	conn.Close()
	return connectionURL(socketDir, database), true
}

func connectionURL(socketDir, database string) string {
	query := url.Values{"host": {socketDir}, "port": {port}}.Encode()
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(superuser),
		Path:     "/" + database,
		RawQuery: strings.ReplaceAll(query, "+", "%20"), // libpq URLs do not decode a plus as a space
	}
	return u.String()
}

// Pid returns the process ID of the postmaster.
func (s *Server) Pid() int { return s.process.Pid }

// Done is closed when postgres has ended for any reason, and its locks and socket are released.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop shuts postgres down and returns when it has ended. If ctx ends first, or after 30
// seconds, Stop aborts postgres, then kills it, and returns an error. No committed data is
// lost, but the next start runs crash recovery. Stopping a stopped server does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.isUp.Store(false)
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()

	s.signal(syscall.SIGINT)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.signal(syscall.SIGQUIT)
	select {
	case <-s.done:
	case <-time.After(quitTimeout):
		s.signal(syscall.SIGKILL)
		<-s.done
	}
	return fmt.Errorf("postgres did not stop cleanly and will recover at its next start: %w", ctx.Err())
}

// signal ignores the error: the only one possible is that the process has ended.
func (s *Server) signal(sig os.Signal) { _ = s.process.Signal(sig) }

// settingArgs orders the settings so that the caller's override the defaults, but not where
// postgres listens.
func settingArgs(settings map[string]string, socketDir string) []string {
	args := []string{"-c", "max_connections=100"}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return append(args,
		"-c", "listen_addresses=",
		"-c", "port="+port,
		"-c", "unix_socket_directories="+quoteListItem(socketDir),
		"-c", "unix_socket_permissions=0700",
	)
}
