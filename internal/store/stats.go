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

// tally counts what goes wrong between this process and the database. Nothing of it costs
// what goes well anything.
type tally struct {
	isAway  atomic.Bool  // no connection could be made since the last try that failed
	failed  atomic.Int64 // connections that could not be made
	byKind  map[string]*atomic.Int64
	commits atomic.Int64 // of GroupCommit, and how many statements they had
	shared  atomic.Int64
	apart   atomic.Int64 // statements that were taken out of one
}

// troubles are the kinds of what PostgreSQL refuses for reasons of its own, by the first
// letters of its code (PostgreSQL manual, appendix A), the longest that fits.
var troubles = map[string]string{
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

func newTally() *tally {
	t := &tally{byKind: make(map[string]*atomic.Int64, len(troubles))}
	for _, kind := range troubles {
		t.byKind[kind] = new(atomic.Int64)
	}
	return t
}

// note counts an error of PostgreSQL. What is refused for what it asks is no trouble.
func (t *tally) note(code string) {
	for length := len(code); length >= 2; length-- {
		if kind, isOne := troubles[code[:length]]; isOne {
			t.byKind[kind].Add(1)
			return
		}
	}
}

// watch has the connections of a pool counted, and those closed that lead nowhere.
func (t *tally) watch(config *pgxpool.Config) {
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) { // the deadline is the connection's own
			t.failed.Add(1)
			t.isAway.Store(true)
		}
		return conn, err
	}
	config.ConnConfig.OnPgError = func(_ *pgconn.PgConn, err *pgconn.PgError) (stays bool) {
		t.note(err.Code)
		return !strings.EqualFold(err.SeverityUnlocalized, "FATAL") && err.Code != readOnly
	}
}

// Stats is what this process has met at the database since its start.
type Stats struct {
	Unreachable        bool  // the last try to connect has failed
	FailedConnects     int64 // tries that did
	GroupCommits       int64 // transactions that were shared, and the statements that they had
	GroupedStatements  int64
	IsolatedStatements int64 // statements that kept others from it, and were carried out by themselves
}

// Stats returns the counts as they are.
func (s *Store) Stats() Stats {
	return Stats{
		Unreachable:        s.tally.isAway.Load(),
		FailedConnects:     s.tally.failed.Load(),
		GroupCommits:       s.tally.commits.Load(),
		GroupedStatements:  s.tally.shared.Load(),
		IsolatedStatements: s.tally.apart.Load(),
	}
}

// ErrorCounts returns how often the database has refused something for reasons of its own, by
// their kinds, as they are read then.
func (s *Store) ErrorCounts() map[string]func() int64 {
	counts := make(map[string]func() int64, len(s.tally.byKind))
	for kind, count := range s.tally.byKind {
		counts[kind] = count.Load
	}
	return counts
}
