package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"parley/internal/localpg"
)

// postgresTime is how long PostgreSQL may take to start, including recovery.
const postgresTime = 30 * time.Second

// postgres is a PostgreSQL server that listens on loopback, like a server on another machine.
type postgres struct {
	daemon
	dir string
}

// newPostgres creates a cluster below dir, which PostgreSQL's user can access if root runs the program, and starts
// it.
func newPostgres(ctx context.Context, bin, dir string, port int) (*postgres, error) {
	created, err := localpg.Start(ctx, localpg.Config{Dir: dir, BinDir: bin})
	if err != nil {
		return nil, err
	}
	if err := created.Stop(ctx); err != nil {
		return nil, err
	}
	cluster := filepath.Join(dir, "postgres")
	info, err := os.Stat(cluster)
	if err != nil {
		return nil, err
	}
	p := &postgres{dir: dir, daemon: daemon{path: filepath.Join(bin, "postgres"), port: port, log: filepath.Join(dir, "chaos.log")}}
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
	return p, p.start(ctx)
}

// start starts PostgreSQL and waits until it accepts queries. PostgreSQL refuses to start until killed backends have
// released their shared memory, so the start is retried.
func (p *postgres) start(ctx context.Context) error {
	return waitFor(ctx, postgresTime, "start PostgreSQL", func() error {
		if !p.isRunning() {
			if err := p.spawn(); err != nil {
				return err
			}
		}
		return p.ping(ctx)
	})
}

func (p *postgres) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.url(p.port))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// url returns the connection URL through a port: its own, or that of a link.
func (p *postgres) url(port int) string {
	return fmt.Sprintf("postgres://parley@%s/postgres?sslmode=disable", address(port))
}

// newRedis starts a Redis without persistence.
func newRedis(ctx context.Context, dir string, port int) (*daemon, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("%w (tools/setup.sh test installs it)", err)
	}
	d := &daemon{path: path, port: port, log: filepath.Join(dir, "redis.log"), args: []string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no", "--dir", dir,
	}}
	if err := d.spawn(); err != nil {
		return nil, err
	}
	return d, d.awaitPort(ctx, postgresTime)
}

// flushRedis deletes everything that a running Redis holds.
func flushRedis(port int) error {
	conn, err := net.Dial("tcp", address(port)) //nolint:noctx // a loopback connection is answered or refused immediately
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("FLUSHALL\r\n")); err != nil {
		return err
	}
	var answer [5]byte
	if _, err := conn.Read(answer[:]); err != nil || string(answer[:]) != "+OK\r\n" {
		return fmt.Errorf("FLUSHALL returned %q: %w", answer, err)
	}
	return nil
}
