// Package store opens and migrates PostgreSQL, runs transactions, and turns the
// database's errors into faults. No other package knows pgx's errors.
package store

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"parley/db"
	gendb "parley/gen/db"
	"parley/internal/trace"
)

// Store is a pool of connections to a migrated database. Its queries run each in
// a transaction of their own; InTx joins several in one. It is safe for
// concurrent use.
type Store struct {
	*gendb.Queries
	pool    *pgxpool.Pool
	sharing *sharing
	tally   *tally
	schema  int64
	// patient is how to connect for what may take its time.
	patient *pgx.ConnConfig
	// within is the transaction that all of a store of WithTx belongs to.
	within *gendb.Queries
}

// session is what every connection is set to.
var session = map[string]string{
	"application_name": "parley",
	"timezone":         "UTC",
	// A query that takes longer has gone wrong and must not hold up the others.
	"statement_timeout": "30s",
	"lock_timeout":      "10s",
	// Whoever was paused or cut off in the middle of a transaction keeps others from what it
	// has locked no longer than an attempt is believed to live.
	"idle_in_transaction_session_timeout": "20s",
	// A plan is kept for long, and made while a table is still small it would go on reading all of
	// it when it has grown. Where there is no other way a table is still read as a whole. Searches
	// and exports rely on it too: the planner hopes to meet enough rows soon without an index.
	"enable_seqscan": "off",
	// Short queries gain nothing from them and pay for their start.
	"max_parallel_workers_per_gather": "0",
	"jit":                             "off",
}

// maxConns is enough to keep a small machine's PostgreSQL busy; more only queue
// inside it.
const maxConns = 16

// Option is what Open may be told beside the address.
type Option func(*options)

type options struct {
	log     *slog.Logger
	traces  *trace.Tracer
	silence time.Duration
}

// WithLog has what takes long, or goes wrong without anybody's asking, logged.
func WithLog(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithTraces has what is asked of the database followed; nil: nothing is.
func WithTraces(traces *trace.Tracer) Option { return func(o *options) { o.traces = traces } }

// Open connects to the database at url and brings it to the newest schema, while others
// use it. Programs that open one database together take turns at that.
func Open(ctx context.Context, url string, told ...Option) (*Store, error) {
	how := options{log: slog.New(slog.DiscardHandler), silence: silenceTime}
	for _, option := range told {
		option(&how)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse the database's address: %w", err)
	}
	if config.MaxConns < maxConns {
		config.MaxConns = maxConns
	}
	for name, value := range session {
		config.ConnConfig.RuntimeParams[name] = value
	}
	tally := newTally()
	tally.watch(config)
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		tally.isAway.Store(false)
		registerUUIDs(conn.TypeMap())
		return nil
	}
	if how.traces != nil {
		config.ConnConfig.Tracer = queries{how.traces}
	}
	patient := config.ConnConfig.Copy()
	withoutSilence(config, how.silence)
	pool, err := newPool(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connect to the database: %w", plain(err))
	}
	schema, err := migrate(ctx, patient, db.Migrations, how.log)
	if err != nil {
		pool.Close()
		return nil, err
	}
	one := translator{on: pool, retries: maxRetries}
	sharing, err := openSharing(ctx, config, pool, tally, how.traces)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &Store{Queries: gendb.New(one), pool: pool, sharing: sharing, tally: tally, schema: schema, patient: patient}, nil
}

// Close waits for the connections in use and closes them all.
func (s *Store) Close() {
	s.sharing.close()
	s.pool.Close()
}

// Ready tells whether the database answers, and takes what is written: one that only
// reads, as a standby does, is left, so that the next connection may find another one.
func (s *Store) Ready(ctx context.Context) error {
	var isReadOnly bool
	if err := s.pool.QueryRow(ctx, "SELECT current_setting('transaction_read_only')::boolean").Scan(&isReadOnly); err != nil {
		return translate(err)
	}
	if isReadOnly {
		s.pool.Reset()
		s.sharing.pool.Reset()
		return unavailable(errReadOnly)
	}
	return nil
}

// SchemaVersion is the number of the newest migration, to which the database was brought.
func (s *Store) SchemaVersion() int64 { return s.schema }

// PoolStats tells how the pool's connections are used.
func (s *Store) PoolStats() *pgxpool.Stat { return s.pool.Stat() }

// QueryCount tells how often this process has asked the database for something: the
// difference of two says how busy it was in between.
func (s *Store) QueryCount() int64 { return s.pool.Stat().AcquireCount() + s.sharing.asked.Load() }

// InTx runs fn in one transaction: committed when fn returns nil, rolled back
// otherwise. Inside it only q may be used, and nothing may be published: fn runs
// again, a few times, when PostgreSQL ends the transaction in favour of another.
func (s *Store) InTx(ctx context.Context, fn func(q *gendb.Queries) error) error {
	if s.within != nil {
		return fn(s.within)
	}
	for attempt := 1; ; attempt++ {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			return fn(gendb.New(translator{on: tx}))
		})
		if !lostRace(err) || attempt > maxRetries {
			return translate(err)
		}
	}
}

// WithTx runs fn with a store whose every statement and InTx are parts of one
// transaction, so that several steps of the domain are all done or none. The rules
// of InTx hold: inside it only that store may be used.
func (s *Store) WithTx(ctx context.Context, fn func(*Store) error) error {
	return s.InTx(ctx, func(q *gendb.Queries) error { return fn(s.Within(q)) })
}

// Within returns a store that is part of the transaction of q, as WithTx's is.
func (s *Store) Within(q *gendb.Queries) *Store {
	return &Store{Queries: q, pool: s.pool, sharing: s.sharing, tally: s.tally, schema: s.schema, patient: s.patient, within: q}
}
