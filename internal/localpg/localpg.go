// Package localpg runs a private PostgreSQL for a program that was given no database of its own.
//
// The cluster lives in the program's data directory, listens on a unix socket only, and is durable by default. It
// belongs to one program at a time: a second one is refused. It ends with the program, also when that is killed, and
// whatever a killed program leaves behind (pid files, sockets, a half made cluster) is put right by the next Start.
//
// Dir holds:
//
//	postgres          the cluster
//	postgres.new      a cluster being made; it gets its name only when it is whole
//	postgres.log      what postgres said since the last start
//	postgres.lock     locked by the program that uses the cluster
//	postgres.running  locked as long as any process of the cluster lives
//	postgres.socket   a link to the directory of the socket
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
	port      = "5432" // only names the socket's file, nothing listens on TCP

	stopLimit  = 30 * time.Second // for a clean stop, when the caller's context allows more
	abortLimit = 3 * time.Second  // for postgres to obey SIGQUIT
)

// Config says where the cluster lives and how it runs.
type Config struct {
	// Dir is the data directory; it is made when missing.
	Dir string
	// BinDir holds initdb and postgres. Empty means the first place FindBinaries knows, or for an existing cluster
	// the first one of the cluster's major version.
	BinDir string
	// Logger hears of starts and of an unexpected end. Nil means silence.
	Logger *slog.Logger
	// Settings are further settings of postgres, as in postgresql.conf. Where it listens cannot be set.
	Settings map[string]string
}

// Server is a running PostgreSQL. Its methods may be called by several goroutines.
type Server struct {
	sockets string
	process *os.Process
	done    chan struct{}
	up      atomic.Bool // ready, and nobody has asked for its end
}

// Start makes the cluster when there is none, starts postgres on it and returns when it accepts connections. Ending ctx
// gives up the start; it does not stop a server that Start has returned. After an error nothing is left running.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	began := time.Now()
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	// Others may enter it, since as root postgres runs as another user; what is in it is closed to them.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}

	locks, err := takeLocks(ctx, dir)
	if err != nil {
		return nil, err
	}
	c, err := openCluster(ctx, dir, cfg, locks)
	if err != nil {
		locks.release()
		return nil, err
	}
	sockets, err := makeSocketDir(dir, c.account)
	if err != nil {
		locks.release()
		return nil, err
	}
	cleanup := func() {
		removeSocketDir(dir)
		locks.release()
	}
	log, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		cleanup()
		return nil, fmt.Errorf("open the log of postgres: %w", err)
	}
	defer log.Close()

	cmd := c.account.command(filepath.Join(c.bin, "postgres"), append(settingArgs(cfg.Settings, sockets), "-D", c.path)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{locks.running}
	// Ctrl-C reaches the program alone, which then stops postgres in its own good time; when the program dies without
	// doing so, the kernel sends postgres the signal for a fast shutdown.
	cmd.SysProcAttr = c.account.attributes(syscall.SIGINT)

	s := &Server{sockets: sockets, done: make(chan struct{})}
	started := make(chan error)
	go s.run(cmd, started, func(exit error) {
		cleanup()
		if s.up.Load() {
			logger.Error("postgres ended by itself", "exit", exit, "log", c.logPath())
		}
	})
	if err := <-started; err != nil {
		<-s.done
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	if err := s.awaitReady(ctx, c); err != nil {
		return nil, err
	}
	s.up.Store(true)
	logger.Info("postgres is ready", "dir", c.path, "pid", s.Pid(), "took", time.Since(began))
	return s, nil
}

// URL returns a connection string for the superuser "parley" over the unix socket. The databases "postgres" and
// "template1" always exist; another one is for the caller to create.
func (s *Server) URL(database string) string { return address(s.sockets, database) }

// Running returns the connection string of a database whose server another program runs in dir at this moment; false
// when none does. It lives as long as that program lets it.
func Running(dir, database string) (string, bool) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", false
	}
	sockets, err := os.Readlink(socketLink(dir))
	if err != nil {
		return "", false
	}
	answering, err := net.Dial("unix", filepath.Join(sockets, socketFile)) //nolint:noctx // a unix socket answers or refuses at once
	if err != nil {
		return "", false
	}
	answering.Close()
	return address(sockets, database), true
}

func address(sockets, database string) string {
	query := url.Values{"host": {sockets}, "port": {port}}.Encode()
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(superuser),
		Path:     "/" + database,
		RawQuery: strings.ReplaceAll(query, "+", "%20"), // in such a URL a plus is no space
	}
	return u.String()
}

// Pid returns the process id of the postmaster.
func (s *Server) Pid() int { return s.process.Pid }

// Done is closed when postgres has ended, by itself or by Stop, and its locks and its socket are gone.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop closes all connections, lets postgres write a checkpoint and returns when it has ended. When ctx ends first, or
// after half a minute, it is aborted, then killed; no committed data is lost by that, but Stop returns an error and the
// next start is slower. Stopping a stopped server does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.up.Store(false)
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
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
	case <-time.After(abortLimit):
		s.signal(syscall.SIGKILL)
		<-s.done
	}
	return fmt.Errorf("postgres did not stop cleanly and will recover at its next start: %w", ctx.Err())
}

// signal ignores errors: the only one there can be is that the process has ended, which done tells.
func (s *Server) signal(sig os.Signal) { _ = s.process.Signal(sig) }

// run starts cmd, says so on started, and stays until the process has ended.
//
// INVARIANT: the goroutine keeps its thread from Start to Wait. The kernel's "parent" that must not die is the thread
// that forked, and the runtime ends idle threads.
func (s *Server) run(cmd *exec.Cmd, started chan<- error, ended func(exit error)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.done)

	if err := cmd.Start(); err != nil {
		ended(err)
		started <- err
		return
	}
	s.process = cmd.Process
	started <- nil
	ended(cmd.Wait())
}

// awaitReady waits for the status line of the pid file. It makes no trial connections: those would fill the log and
// count against max_connections. Crash recovery takes as long as it takes, so only ctx ends the wait.
func (s *Server) awaitReady(ctx context.Context, c cluster) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !c.ready(s.Pid()) {
		select {
		case <-tick.C:
		case <-s.done:
			return fmt.Errorf("postgres ended before it was ready: %w", lastWords(c.logPath()))
		case <-ctx.Done():
			// The context that would bound the stop is the one that ended.
			stopped := s.Stop(context.WithoutCancel(ctx))
			return fmt.Errorf("wait for postgres: %w", errors.Join(ctx.Err(), stopped, lastWords(c.logPath())))
		}
	}
	return nil
}

// settingArgs orders the settings so that the caller's override our defaults, but not where postgres listens.
func settingArgs(settings map[string]string, sockets string) []string {
	args := []string{"-c", "max_connections=100"}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return append(args,
		"-c", "listen_addresses=",
		"-c", "port="+port,
		"-c", "unix_socket_directories="+quoteListItem(sockets),
		"-c", "unix_socket_permissions=0700",
	)
}
