package store

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// A network may forget a connection and tell neither end: what is sent over it is lost,
// and no answer ever comes. PostgreSQL's own timeouts are of no use then.
const (
	// connectTime is how long a new connection may take, where the address says nothing
	// else (connect_timeout).
	connectTime = 5 * time.Second
	// restTime is how long a connection may rest before it is tried ahead of its next use,
	// and pingTime how long it may take to show that it lives.
	restTime = time.Second
	pingTime = 3 * time.Second
	// silenceTime is how long PostgreSQL may say nothing while it is waited for: a little
	// longer than its statement_timeout, with which it says at least that.
	silenceTime = 35 * time.Second
	// goodbyeTime is how long PostgreSQL may take to hear that a statement was given up.
	goodbyeTime = 2 * time.Second
)

// withoutSilence has connections be given up that nothing comes over any more.
func withoutSilence(config *pgxpool.Config, silence time.Duration) {
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTime
	}
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &impatient{Conn: conn, silence: silence}, nil
	}
}

// newPool makes a pool whose connections are tried when they have rested. Where one proves
// to be dead, those that rest beside it are given up too: a network that has forgotten one
// has most likely forgotten all, and to try each would take too long.
func newPool(ctx context.Context, config *pgxpool.Config) (*pgxpool.Pool, error) {
	var pool *pgxpool.Pool
	config.ShouldPing = func(ctx context.Context, of pgxpool.ShouldPingParams) bool {
		if of.IdleDuration < restTime {
			return false
		}
		// That whoever asks leaves meanwhile is no reason to give a connection up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTime)
		defer cancel()
		if of.Conn.Ping(ctx) == nil {
			return false
		}
		pool.Reset()
		return true // which the pool then finds closed
	}
	var err error
	pool, err = pgxpool.NewWithConfig(ctx, config)
	return pool, err
}

// impatient is a connection of which a read ends when nothing has come for so long:
// connectTime while nothing has come at all, silence from then on. The deadlines of pgx go
// before that, though no further than goodbyeTime: those in the future are for the end of a
// connection, which keeps its place in the pool until then.
type impatient struct {
	net.Conn
	silence time.Duration

	mu        sync.Mutex
	isGreeted bool
	isBounded bool
}

// Read implements net.Conn.
func (c *impatient) Read(into []byte) (int, error) {
	if err := c.setPatience(); err != nil {
		return 0, err
	}
	count, err := c.Conn.Read(into)
	if count > 0 {
		c.mu.Lock()
		c.isGreeted = true
		c.mu.Unlock()
	}
	return count, err
}

func (c *impatient) setPatience() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isBounded {
		return nil
	}
	patience := c.silence
	if !c.isGreeted {
		patience = min(connectTime, patience)
	}
	return c.SetReadDeadline(time.Now().Add(patience))
}

// SetDeadline implements net.Conn.
func (c *impatient) SetDeadline(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isBounded = !at.IsZero()
	if latest := time.Now().Add(goodbyeTime); at.After(latest) {
		at = latest
	}
	return c.Conn.SetDeadline(at)
}
