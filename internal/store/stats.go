package store

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// counters count the errors between this process and the database, and the group commits.
type counters struct {
	unreachable    atomic.Bool  // the last attempt to connect failed
	failedConnects atomic.Int64 // attempts to connect that failed
	errors         map[string]*atomic.Int64
	commits        atomic.Int64 // batches that were committed
	grouped        atomic.Int64 // statements in them
	isolated       atomic.Int64 // statements that were isolated
}

// errorKinds names the errors that PostgreSQL returns for reasons of its own, by the longest
// matching prefix of the SQLSTATE (PostgreSQL manual, appendix A).
var errorKinds = map[string]string{
	"08":    "connection",
	"25006": "read_only",
	"40":    "lost_race",
	"53":    "out_of_resources",
	"53100": "disk_full",
	"53300": "too_many_connections",
	"55P03": "lock_timeout",
	"57014": "statement_timeout",
	"57P":   "stopping",
	"58":    "system",
	"XX":    "internal",
}

func newCounters() *counters {
	c := &counters{errors: make(map[string]*atomic.Int64, len(errorKinds))}
	for _, kind := range errorKinds {
		c.errors[kind] = new(atomic.Int64)
	}
	return c
}

// countError counts an error by its SQLSTATE. Errors that the statement caused are not counted.
func (c *counters) countError(code string) {
	for length := len(code); length >= 2; length-- {
		if kind, ok := errorKinds[code[:length]]; ok {
			c.errors[kind].Add(1)
			return
		}
	}
}

// instrument counts the errors of a pool's connections. It also closes connections to a read-only
// database.
func (c *counters) instrument(config *pgxpool.Config) {
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) { // an exceeded deadline means that connect_timeout has passed
			c.failedConnects.Add(1)
			c.unreachable.Store(true)
		}
		return conn, err
	}
	config.ConnConfig.OnPgError = func(_ *pgconn.PgConn, err *pgconn.PgError) (keep bool) {
		c.countError(err.Code)
		return !strings.EqualFold(err.SeverityUnlocalized, "FATAL") && err.Code != readOnly
	}
}

// Stats are counters since the start of the process.
type Stats struct {
	Unreachable        bool  // the last attempt to connect failed
	FailedConnects     int64 // attempts to connect that failed
	GroupCommits       int64 // batches that were committed
	GroupedStatements  int64 // statements in those batches
	IsolatedStatements int64 // statements that were removed from a batch and ran on their own
}

// Stats returns the current counters.
func (s *Store) Stats() Stats {
	return Stats{
		Unreachable:        s.stats.unreachable.Load(),
		FailedConnects:     s.stats.failedConnects.Load(),
		GroupCommits:       s.stats.commits.Load(),
		GroupedStatements:  s.stats.grouped.Load(),
		IsolatedStatements: s.stats.isolated.Load(),
	}
}

// ErrorCounts returns, for each kind of error that PostgreSQL returns for reasons of its own, a
// function that reads its count.
func (s *Store) ErrorCounts() map[string]func() int64 {
	counts := make(map[string]func() int64, len(s.stats.errors))
	for kind, count := range s.stats.errors {
		counts[kind] = count.Load
	}
	return counts
}
