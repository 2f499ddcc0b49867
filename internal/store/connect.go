package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// CheckURL returns an error that explains what is wrong with a database URL. It does not repeat the URL, which may
// contain a password.
func CheckURL(url string) error {
	_, err := pgxpool.ParseConfig(url)
	if err == nil {
		return nil
	}
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("refers to a file that cannot be read: %w", file)
	}
	// pgx describes an invalid sslmode and the like in the innermost error.
	cause := err
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		cause = inner
	}
	if strings.HasPrefix(cause.Error(), "ssl") {
		return fmt.Errorf("has invalid TLS parameters: %w", cause)
	}
	return errors.New("must be a PostgreSQL URL, such as postgres://user:password@host:5432/database")
}

// setSettings sets session settings on every new connection, after those that an earlier call set.
// They are not startup parameters, because connection poolers refuse or drop these.
func setSettings(config *pgx.ConnConfig, settings map[string]string) {
	var sql strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&sql, "SET %s TO '%s';", name, settings[name])
	}
	earlier := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if earlier != nil {
			if err := earlier(ctx, conn); err != nil {
				return err
			}
		}
		_, err := conn.Exec(ctx, sql.String()).ReadAll()
		return err
	}
}

// checkServer returns an error unless the database stores UTF-8 and each connection keeps its
// session.
func checkServer(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var encoding string
	if err := conn.QueryRow(ctx, "SHOW server_encoding", pgx.QueryExecModeExec).Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database has the encoding %s: create it with ENCODING 'UTF8'", encoding)
	}
	return checkSessions(ctx, conn, pool)
}

// checkSessions returns an error if two connections share one session of PostgreSQL, as they do
// behind a pooler in transaction mode. Session settings and advisory locks would then affect others
// or be lost.
func checkSessions(ctx context.Context, conn *pgxpool.Conn, pool *pgxpool.Pool) error {
	backend := func(conn interface {
		QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	},
	) (pid int, err error) {
		// Behind a pooler, a prepared statement may exist already.
		err = conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&pid)
		return pid, err
	}
	before, err := backend(conn)
	if err != nil {
		return err
	}
	var other, after int
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) (err error) {
		if other, err = backend(tx); err != nil {
			return err
		}
		after, err = backend(conn)
		return err
	})
	if err != nil {
		return err
	}
	if before == other || before != after {
		return errors.New("a connection pooler in transaction mode is in between: connect directly, or use session mode (pool_mode=session in pgbouncer)")
	}
	return nil
}

const (
	// silentHostTime is how long a host that did not answer has a shorter timeout.
	silentHostTime = 30 * time.Second
	// silentHostTimeout is that shorter timeout.
	silentHostTimeout = 500 * time.Millisecond
)

// silentHosts remembers the addresses that did not answer in time. If a URL has several hosts, one that is down then
// does not delay every new connection by connect_timeout.
type silentHosts struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// newSilentHosts returns nil if the URL has one host only.
func newSilentHosts(config *pgconn.Config) *silentHosts {
	for _, fallback := range config.Fallbacks {
		if fallback.Host != config.Host || fallback.Port != config.Port {
			return &silentHosts{since: make(map[string]time.Time)}
		}
	}
	return nil
}

// timeout returns the time that an address has to accept a connection or to answer: usual, or less if it did not
// answer lately.
func (s *silentHosts) timeout(address string, usual time.Duration) time.Duration {
	if s == nil {
		return usual
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.since[address]) < silentHostTime {
		return min(silentHostTimeout, usual)
	}
	return usual
}

// record records whether an address answered, if err is a timeout or nil.
func (s *silentHosts) record(address string, err error) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	netErr, ok := errors.AsType[net.Error](err)
	switch {
	case err == nil:
		delete(s.since, address)
	case ok && netErr.Timeout():
		s.since[address] = time.Now()
	}
}
