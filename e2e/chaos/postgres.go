package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"parley/internal/localpg"
)

// postgresTime is how long PostgreSQL may take to accept connections: it recovers.
const postgresTime = 30 * time.Second

// daemon is a program that listens on a port of its own, and is started again there.
type daemon struct {
	path  string
	args  []string
	owner *syscall.Credential // nil: ours
	port  int
	log   string

	process *os.Process
	ended   chan struct{}
}

// start starts it; it ends with this program, however that ends.
func (d *daemon) start() error {
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.path, d.args...) //nolint:noctx // kill ends it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.Dir = "/"
	cmd.SysProcAttr = attributes(d.owner)
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The kernel ends it with the thread that has started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is told how to end
		}
	}()
	if err := <-started; err != nil {
		<-ended
		return err
	}
	d.process, d.ended = cmd.Process, ended
	return nil
}

func (d *daemon) isRunning() bool {
	if d.process == nil {
		return false
	}
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// end sends a signal to it and, where wanted, to all that it has started, and waits.
func (d *daemon) end(signal syscall.Signal, isForAll bool) {
	if d.process == nil {
		return
	}
	pid := d.process.Pid
	if isForAll {
		pid = -pid
	}
	_ = syscall.Kill(pid, signal) // it may have ended
	select {
	case <-d.ended:
	case <-time.After(20 * time.Second):
		_ = syscall.Kill(-d.process.Pid, syscall.SIGKILL)
		<-d.ended
	}
}

// listens waits until something accepts connections at the port.
func (d *daemon) listens(ctx context.Context, limit time.Duration) error {
	return until(ctx, limit, d.path, func() error {
		if !d.isRunning() {
			return errors.New("it has ended, as " + d.log + " tells")
		}
		conn, err := net.Dial("tcp", address(d.port)) //nolint:noctx // loopback answers or refuses at once
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// address is a port on loopback.
func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// postgres is a PostgreSQL that listens on loopback, as one that is a machine of its own.
type postgres struct {
	daemon
	dir string
}

// makePostgres makes a cluster in a directory that root's PostgreSQL can get into, and
// starts it.
func makePostgres(ctx context.Context, bin, dir string, port int) (*postgres, error) {
	made, err := localpg.Start(ctx, localpg.Config{Dir: dir, BinDir: bin})
	if err != nil {
		return nil, err
	}
	if err := made.Stop(ctx); err != nil {
		return nil, err
	}
	cluster := filepath.Join(dir, "postgres")
	info, err := os.Stat(cluster)
	if err != nil {
		return nil, err
	}
	p := &postgres{dir: dir, daemon: daemon{path: filepath.Join(bin, "postgres"), port: port, log: filepath.Join(dir, "faults.log")}}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Getuid() {
		p.owner = &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
	}
	for _, setting := range []string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(port), "unix_socket_directories=", "max_connections=100",
		"max_wal_size=64MB", "min_wal_size=32MB", "logging_collector=off", "log_min_messages=warning",
	} {
		p.args = append(p.args, "-c", setting)
	}
	p.args = append(p.args, "-D", cluster)
	return p, p.begin(ctx)
}

// begin starts it and waits until it can be asked.
func (p *postgres) begin(ctx context.Context) error {
	// Those who were killed with it let go of its memory a moment later; until then it
	// refuses to start.
	return until(ctx, postgresTime, "start PostgreSQL", func() error {
		if !p.isRunning() {
			if err := p.start(); err != nil {
				return err
			}
		}
		return p.isReady(ctx)
	})
}

func (p *postgres) isReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.url(p.port))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// url is its address for whoever comes by a port: its own, or that of a link to it.
func (p *postgres) url(port int) string {
	return fmt.Sprintf("postgres://parley@%s/postgres?sslmode=disable", address(port))
}

// makeRedis starts a Redis that keeps nothing.
func makeRedis(ctx context.Context, dir string, port int) (*daemon, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("%w (tools/setup.sh test installs it)", err)
	}
	d := &daemon{path: path, port: port, log: filepath.Join(dir, "redis.log"), args: []string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no", "--dir", dir,
	}}
	if err := d.start(); err != nil {
		return nil, err
	}
	return d, d.listens(ctx, postgresTime)
}

// flush empties a Redis while it runs.
func flush(port int) error {
	conn, err := net.Dial("tcp", address(port)) //nolint:noctx // loopback answers or refuses at once
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("FLUSHALL\r\n")); err != nil {
		return err
	}
	var answer [5]byte
	if _, err := conn.Read(answer[:]); err != nil || string(answer[:]) != "+OK\r\n" {
		return fmt.Errorf("redis answers %q: %w", answer, err)
	}
	return nil
}
