package store

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A network can drop a connection without closing it at either end: requests are lost and no
// response ever arrives. PostgreSQL's own timeouts do not help then. Three measures detect such a
// connection: a pooled connection that was idle is pinged before its next use, every read has a
// timeout, and one dead connection closes all idle ones.
const (
	// connectTimeout bounds connecting, unless the URL has a connect_timeout.
	connectTimeout = 5 * time.Second
	// maxIdleUnchecked is how long a connection may be idle without a ping before its next use;
	// pingTimeout bounds that ping.
	maxIdleUnchecked = time.Second
	pingTimeout      = 3 * time.Second
	// defaultReadTimeout bounds the wait for PostgreSQL's next bytes. It is longer than
	// statement_timeout, which makes PostgreSQL send at least an error.
	defaultReadTimeout = 35 * time.Second
	// maxCancelTime bounds the time that closing a connection waits for PostgreSQL to cancel its
	// statement.
	maxCancelTime = 2 * time.Second
	// maintenanceTimeout replaces defaultReadTimeout for operations that may take hours.
	maintenanceTimeout = 7 * 24 * time.Hour
)

// setReadTimeout closes connections on which a response takes longer than readTimeout.
func setReadTimeout(config *pgx.ConnConfig, readTimeout time.Duration, hosts *silentHosts) {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		firstTimeout := hosts.timeout(address, min(connectTimeout, readTimeout))
		ctx, cancel := context.WithTimeout(ctx, hosts.timeout(address, config.ConnectTimeout))
		defer cancel()
		conn, err := dial(ctx, network, address)
		if err != nil {
			hosts.record(address, err)
			return nil, err
		}
		return &deadlineConn{
			Conn: conn, firstTimeout: firstTimeout, readTimeout: readTimeout,
			onAnswer: func(err error) { hosts.record(address, err) },
		}, nil
	}
}

// newPool returns a pool that pings idle connections before their next use. When a ping fails, it
// closes all idle connections: a network that dropped one has probably dropped all, and pinging
// each would take too long.
func newPool(ctx context.Context, config *pgxpool.Config) (*pgxpool.Pool, error) {
	var pool *pgxpool.Pool
	config.ShouldPing = func(ctx context.Context, of pgxpool.ShouldPingParams) bool {
		if of.IdleDuration < maxIdleUnchecked {
			return false
		}
		// The end of the caller's context says nothing about the connection.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
		defer cancel()
		if of.Conn.Ping(ctx) == nil {
			return false
		}
		pool.Reset()
		return true // the pool's own ping then fails and closes the connection
	}
	var err error
	pool, err = pgxpool.NewWithConfig(ctx, config)
	return pool, err
}

// deadlineConn is a connection whose reads time out: after firstTimeout until the first bytes
// arrive, then after readTimeout.
//
// A deadline set by pgx takes precedence. pgx sets one in the past to interrupt a read when a
// context ends, and one in the future while it closes a connection, which keeps its place in the
// pool until then. The latter is capped at maxCancelTime.
type deadlineConn struct {
	net.Conn
	firstTimeout, readTimeout time.Duration
	onAnswer                  func(err error) // called when the first bytes have arrived, or have not in time

	mu          sync.Mutex
	hasReceived bool // any bytes
	hasDeadline bool // set by pgx
}

// Read implements net.Conn.
func (c *deadlineConn) Read(into []byte) (int, error) {
	if err := c.extendDeadline(); err != nil {
		return 0, err
	}
	count, err := c.Conn.Read(into)
	c.mu.Lock()
	isAnswer := !c.hasReceived
	c.hasReceived = c.hasReceived || count > 0
	c.mu.Unlock()
	if isAnswer {
		c.onAnswer(err)
	}
	return count, err
}

func (c *deadlineConn) extendDeadline() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hasDeadline {
		return nil
	}
	timeout := c.readTimeout
	if !c.hasReceived {
		timeout = c.firstTimeout
	}
	return c.SetReadDeadline(time.Now().Add(timeout))
}

// SetDeadline implements net.Conn.
func (c *deadlineConn) SetDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hasDeadline = !at.IsZero()
	if latest := time.Now().Add(maxCancelTime); at.After(latest) {
		at = latest
	}
	return c.Conn.SetDeadline(at)
}
