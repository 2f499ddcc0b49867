// Package store opens and migrates PostgreSQL, runs transactions, and translates the database's
// errors. No other package handles pgx errors.
package store

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"parley/db"
	gendb "parley/gen/db"
	"parley/internal/trace"
)

// Store is a pool of connections to a migrated database. Each of its queries runs in a transaction
// of its own; InTx runs several in one. It is safe for concurrent use.
type Store struct {
	*gendb.Queries
	pool          *pgxpool.Pool
	group         *groupCommit
	reports       *reports
	stats         *counters
	schemaVersion int64
	// maintenance is the connection configuration for long operations, without a read timeout.
	maintenance *pgx.ConnConfig
	// within holds the queries of the transaction to which a Store of WithTx or Within belongs.
	within *gendb.Queries
}

// startupParameters are the parameters of every connection that connection poolers know.
var startupParameters = map[string]string{"application_name": "parley", "timezone": "UTC"}

// sessionSettings are the settings of every session.
var sessionSettings = map[string]string{
	// No regular query takes this long; a runaway one must not block the others.
	"statement_timeout": "30s",
	"lock_timeout":      "10s",
	// A process that is paused or cut off in a transaction keeps its locks no longer than a run's
	// lease lasts.
	"idle_in_transaction_session_timeout": "20s",
	// A generic plan that was made while a table was small would scan the whole table after it has grown. A table
	// without a usable index is still scanned. Searches and exports rely on this setting too: without it, the planner
	// expects to find enough rows early in a scan.
	"enable_seqscan": "off",
	// Starting parallel workers or JIT compilation costs more than short queries gain.
	"max_parallel_workers_per_gather": "0",
	"jit":                             "off",
}

// minPoolSize is the smallest maximum number of connections of all pools together. More connections than this only queue
// inside the PostgreSQL of a small machine.
const minPoolSize = 16

// maxRetryPause bounds the random pause before a transaction runs again. It doubles each time.
const maxRetryPause = 5 * time.Millisecond

// Option configures Open.
type Option func(*options)

type options struct {
	log         *slog.Logger
	traces      *trace.Tracer
	readTimeout time.Duration
}

// WithLog logs background operations, and migrations that wait.
func WithLog(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithTraces traces the queries; nil traces nothing.
func WithTraces(traces *trace.Tracer) Option { return func(o *options) { o.traces = traces } }

// Open connects to the database at url and applies the pending migrations while others use it.
// Programs that open one database at the same time take turns.
func Open(ctx context.Context, url string, opts ...Option) (_ *Store, err error) {
	o := options{log: slog.New(slog.DiscardHandler), readTimeout: defaultReadTimeout}
	for _, option := range opts {
		option(&o)
	}
	stats := newCounters()
	config, err := poolConfig(url, stats, o.traces)
	if err != nil {
		return nil, err
	}
	maintenance := config.ConnConfig.Copy()
	hosts := newSilentHosts(&config.ConnConfig.Config)
	setReadTimeout(config.ConnConfig, o.readTimeout, hosts)
	setReadTimeout(maintenance, maintenanceTimeout, hosts)
	opened := &Store{stats: stats, maintenance: maintenance}
	defer func() {
		if err != nil {
			opened.Close()
		}
	}()
	config.MaxConns -= groupConnections
	if opened.reports, err = openReports(ctx, config); err != nil {
		return nil, err
	}
	if opened.pool, err = newPool(ctx, config); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := checkServer(ctx, opened.pool); err != nil {
		return nil, fmt.Errorf("connect to the database: %w", shorten(err))
	}
	if opened.schemaVersion, err = migrate(ctx, maintenance, db.Migrations, o.log); err != nil {
		return nil, err
	}
	if opened.group, err = openGroupCommit(ctx, config, opened.pool, stats, o.traces); err != nil {
		return nil, err
	}
	opened.Queries = gendb.New(translator{on: opened.pool, retries: maxRetries})
	return opened, nil
}

func poolConfig(url string, stats *counters, traces *trace.Tracer) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse the database URL: %w", err)
	}
	config.MaxConns = max(config.MaxConns, minPoolSize)
	maps.Copy(config.ConnConfig.RuntimeParams, startupParameters)
	setSettings(config.ConnConfig, sessionSettings)
	stats.instrument(config)
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		stats.unreachable.Store(false)
		registerUUIDs(conn.TypeMap())
		return nil
	}
	if traces != nil {
		config.ConnConfig.Tracer = queryTracer{traces}
	}
	return config, nil
}

// Close waits for the connections in use and closes all of them.
func (s *Store) Close() {
	if s.group != nil { // nil if Open has failed, as the pools may be
		s.group.close()
	}
	if s.pool != nil {
		s.pool.Close()
	}
	if s.reports != nil {
		s.reports.pool.Close()
	}
}

// Ready returns an error unless the database answers and accepts writes. If it is read-only, as a
// standby is, Ready closes the connections, so that new ones may reach the primary.
func (s *Store) Ready(ctx context.Context) error {
	var isReadOnly bool
	if err := s.pool.QueryRow(ctx, "SELECT current_setting('transaction_read_only')::boolean").Scan(&isReadOnly); err != nil {
		return translate(err)
	}
	if isReadOnly {
		s.pool.Reset()
		s.group.pool.Reset()
		s.reports.pool.Reset()
		return unavailable(errReadOnly)
	}
	return nil
}

// SchemaVersion returns the version of the newest migration.
func (s *Store) SchemaVersion() int64 { return s.schemaVersion }

// PoolStats returns the statistics of the connection pool, without the connections of reports and group
// commits.
func (s *Store) PoolStats() *pgxpool.Stat { return s.pool.Stat() }

// QueryCount returns how many queries this process has made. The difference of two counts shows how
// busy it was in between.
func (s *Store) QueryCount() int64 {
	return s.pool.Stat().AcquireCount() + s.reports.pool.Stat().AcquireCount() + s.group.submitted.Load()
}

// InTx runs fn in one transaction. It commits when fn returns nil and rolls back otherwise. When
// the transaction loses a race it runs fn again, up to three times. fn must use only q, and publish
// nothing.
func (s *Store) InTx(ctx context.Context, fn func(q *gendb.Queries) error) error {
	if s.within != nil {
		return fn(s.within)
	}
	for attempt := 1; ; attempt++ {
		err := s.runTx(ctx, fn)
		if !lostRace(err) || attempt > maxRetries {
			return translate(err)
		}
		// Transactions that lost to each other must not meet again at once.
		select {
		case <-time.After(rand.N(maxRetryPause << attempt)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Store) runTx(ctx context.Context, fn func(q *gendb.Queries) error) error {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // has no effect after the commit
	if err := fn(gendb.New(translator{on: tx})); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// A client that disconnects must not cancel a commit: PostgreSQL would stop waiting for its synchronous standby
	// and commit without it.
	return tx.Commit(context.WithoutCancel(ctx))
}

// WithTx runs fn with a Store whose statements and InTx calls all belong to one transaction. The
// rules of InTx apply: fn must use only that Store.
func (s *Store) WithTx(ctx context.Context, fn func(*Store) error) error {
	return s.InTx(ctx, func(q *gendb.Queries) error { return fn(s.Within(q)) })
}

// Within returns a Store that belongs to the transaction of q, as that of WithTx does.
func (s *Store) Within(q *gendb.Queries) *Store {
	within := *s
	within.Queries, within.within = q, q
	return &within
}
