package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	gendb "parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/trace"
)

const (
	// maxBatch and maxBatchBytes bound one batch.
	maxBatch      = 128
	maxBatchBytes = 1 << 20
	// maxQueued and maxQueuedBytes bound the statements that wait, in all queues. Further
	// statements are refused.
	maxQueued      = 4096
	maxQueuedBytes = 64 << 20
	// groupConnections are one, and a second that replaces one that hangs and is not closed yet.
	groupConnections = 2
)

// SessionKey is the primary key of a session: the only row that a group-committed statement locks.
type SessionKey struct{ OrganizationID, SessionID uuid.UUID }

func (k SessionKey) compare(other SessionKey) int {
	return cmp.Or(bytes.Compare(k.OrganizationID[:], other.OrganizationID[:]), bytes.Compare(k.SessionID[:], other.SessionID[:]))
}

// GroupCommit returns queries whose single-row statements share transactions with those of other
// callers. The first statement runs immediately. Statements that arrive while it commits are
// batched into the next transaction. Statements of one session run in the order of their calls.
//
// Each call returns after its commit, with the error that the statement would have returned alone.
// IsInDoubt reports whether such an error leaves the commit undecided.
//
// A statement must return one row and lock no session but the given one: statements are sorted by
// session, so that two batches cannot deadlock.
//
// INVARIANT: a result is delivered after the commit, never before.
func (s *Store) GroupCommit(session SessionKey) *gendb.Queries {
	if s.within != nil {
		return s.within
	}
	return gendb.New(groupCommitter{translator: translator{on: s.pool, retries: maxRetries}, group: s.group, session: session})
}

// Pending is the backlog of GroupCommit.
type Pending struct {
	Statements, Bytes int
	IsolatedSessions  int // sessions whose statements run in transactions of their own
}

// Pending returns the current backlog of GroupCommit.
func (s *Store) Pending() Pending {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return Pending{Statements: s.group.count, Bytes: s.group.bytes, IsolatedSessions: len(s.group.isolated)}
}

// groupCommitter implements gendb.DBTX. It submits statements of one row to the group; all other
// statements run on their own.
type groupCommitter struct {
	translator
	group   *groupCommit
	session SessionKey
}

// QueryRow returns a row whose Scan runs the statement.
func (c groupCommitter) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return groupedRow{ctx: ctx, by: c, sql: sql, args: args}
}

type groupedRow struct {
	ctx  context.Context //nolint:containedctx // a row belongs to one call, as pgx's own does
	by   groupCommitter
	sql  string
	args []any
}

// Scan runs the statement and scans its row.
func (r groupedRow) Scan(dest ...any) error {
	return r.by.group.run(r.ctx, &statement{session: r.by.session, sql: r.sql, args: r.args, dest: dest, done: make(chan struct{})})
}

// statement is one submitted statement.
//
// Its states, and the functions that change them:
//
//	queued ──next──▶ batched ──commitBatch──▶ committed
//	   │                │
//	   │                ├─ isolate: it failed, or waits for a lock ──▶ isolated
//	   │                ├─ requeue: others in the batch failed too often ──▶ queued, at the front
//	   │                └─ fail: the connection was lost ──▶ in doubt
//	   └─ await: the caller's context ended ──▶ abandoned
//
//	isolated ──runIsolated──▶ committed
//	   ▲  │
//	   │  ├─ it failed ──▶ failed
//	   │  ├─ the connection was lost ──▶ in doubt
//	   └──┴─ lock timeout or lost race, within isolatedLockWait ──▶ isolated again
//
// The first statement of an idle group is batched without being queued. An isolated statement that
// waits for its turn can be abandoned like a queued one. Committed, failed and in doubt close done.
// In doubt means that PostgreSQL may or may not have committed: the caller gets an Unavailable
// error for which IsInDoubt returns true.
type statement struct {
	session SessionKey
	sql     string
	args    []any
	dest    []any // written before done is closed, and not at all when the statement is abandoned
	size    int   // bytes of the arguments
	// done is closed once err and batchSize are final.
	done      chan struct{}
	err       error
	batchSize int // the number of statements in the transaction that committed it, including itself
	// firstIsolatedRun is when the statement first ran on its own.
	firstIsolatedRun time.Time
	// isTaken is guarded by groupCommit.mu. It is set while the statement runs, when it can no
	// longer be abandoned, and when it was abandoned, so that it never runs.
	isTaken bool
}

// finish delivers the result to the caller that waits in await.
func (s *statement) finish(err error) {
	s.err = err
	close(s.done)
}

// groupCommit collects statements and commits them in batches. At most one batch transaction runs
// at a time, on a connection of its own. The caller that finds the group idle runs its statement
// itself; if more arrive meanwhile, a goroutine takes over and ends when the queue is empty. An
// idle group therefore has no goroutine.
//
// A statement that waits for a lock would hold up its whole batch, so it is isolated: it runs in
// its own transaction, outside the batches. Later statements of the same session queue behind it,
// which keeps their order; statements of other sessions are not affected.
type groupCommit struct {
	pool *pgxpool.Pool // for batches: at most one connection in use, with the short lock timeout
	// isolatedPool serves isolated statements.
	isolatedPool *pgxpool.Pool
	stats        *counters
	traces       *trace.Tracer

	submitted atomic.Int64 // statements since the start

	// mu guards the fields below and the isTaken of all statements.
	mu      sync.Mutex
	running bool // a batch runs, or a goroutine is about to run one
	queue   []*statement
	bytes   int // waiting statements' arguments, in all queues
	count   int // waiting statements, in all queues
	// isolated has an entry for each session whose statements run on their own.
	isolated map[SessionKey]*isolatedQueue
	// slots is a semaphore of maxIsolated.
	slots chan struct{}
}

// isolatedQueue is the statements of one session, which run one after the other.
type isolatedQueue struct{ statements []*statement }

func openGroupCommit(ctx context.Context, config *pgxpool.Config, isolatedPool *pgxpool.Pool, stats *counters, traces *trace.Tracer) (*groupCommit, error) {
	config = config.Copy()
	config.MaxConns, config.MinConns, config.MinIdleConns = groupConnections, 0, 0
	setSettings(config.ConnConfig, map[string]string{"lock_timeout": batchLockTimeout})
	pool, err := newPool(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the group commit connection: %w", err)
	}
	return &groupCommit{
		pool: pool, isolatedPool: isolatedPool, stats: stats, traces: traces,
		isolated: make(map[SessionKey]*isolatedQueue), slots: make(chan struct{}, maxIsolated),
	}, nil
}

// run executes a statement and returns its result. A caller whose context ends abandons the
// statement while it is queued; a statement that runs is always waited for.
func (g *groupCommit) run(ctx context.Context, s *statement) error {
	if g.traces == nil {
		return g.submit(ctx, s)
	}
	ctx, span := g.traces.StartQuery(ctx, queryName(s.sql))
	defer span.End()
	err := g.submit(ctx, s)
	if s.batchSize > 0 { // 0: not committed
		span.SetNumber("db.operation.batch.size", s.batchSize)
	}
	if err != nil && !apperr.Is(err, apperr.NotFound) {
		span.Fail(string(apperr.KindOf(err)))
	}
	return err
}

func (g *groupCommit) submit(ctx context.Context, s *statement) error {
	g.submitted.Add(1)
	s.size = argumentBytes(s.args)
	g.mu.Lock()
	isolated := g.isolated[s.session]
	if g.running || isolated != nil {
		if g.count >= maxQueued || g.bytes+s.size > maxQueuedBytes {
			g.mu.Unlock()
			return &apperr.Error{Kind: apperr.Unavailable, Message: "Too many writes are queued. Retry later.", RetryAfter: time.Second}
		}
		g.markWaiting(s)
		if isolated != nil {
			isolated.statements = append(isolated.statements, s)
		} else {
			g.queue = append(g.queue, s)
		}
		g.mu.Unlock()
		return g.await(ctx, s)
	}
	g.running, s.isTaken = true, true
	g.mu.Unlock()
	g.commitBatch([]*statement{s})
	// Statements that arrived meanwhile are run by a goroutine, so that this caller can return.
	g.mu.Lock()
	g.running = len(g.queue) > 0
	needsRunner := g.running
	g.mu.Unlock()
	if needsRunner {
		go g.runQueue() // ends when the queue is empty; every caller waits for its own statement
	}
	return g.await(ctx, s) // its statement may have been isolated
}

func argumentBytes(args []any) (size int) {
	for _, arg := range args {
		switch arg := arg.(type) {
		case string:
			size += len(arg)
		case []byte:
			size += len(arg)
		case json.RawMessage:
			size += len(arg)
		}
	}
	return size
}

// await returns the statement's result, or abandons it when ctx ends before it runs.
func (g *groupCommit) await(ctx context.Context, s *statement) error {
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	isAbandoned := !s.isTaken
	if isAbandoned {
		g.markTaken(s) // the queue skips it
	}
	g.mu.Unlock()
	switch {
	case !isAbandoned:
		<-s.done
		return s.err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return unavailable(ctx.Err())
	}
	return ctx.Err()
}

// markWaiting counts a statement as waiting. g.mu is held.
func (g *groupCommit) markWaiting(s *statement) {
	s.isTaken = false
	g.count++
	g.bytes += s.size
}

// markTaken counts a statement as no longer waiting. g.mu is held.
func (g *groupCommit) markTaken(s *statement) {
	s.isTaken = true
	g.count--
	g.bytes -= s.size
}

// runQueue commits batches until the queue is empty.
func (g *groupCommit) runQueue() {
	for {
		g.mu.Lock()
		batch := g.next()
		if len(batch) == 0 {
			g.running = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		g.commitBatch(batch)
	}
}

// next removes the next batch from the queue: the oldest statements, up to the limits of a batch.
// g.mu is held.
func (g *groupCommit) next() []*statement {
	var batch []*statement
	bytes, seen := 0, 0
	for _, s := range g.queue {
		if len(batch) == maxBatch || len(batch) > 0 && bytes+s.size > maxBatchBytes {
			break
		}
		seen++
		if !s.isTaken { // otherwise abandoned
			g.markTaken(s)
			bytes += s.size
			batch = append(batch, s)
		}
	}
	g.queue = slices.Delete(g.queue, 0, seen)
	return batch
}

func (g *groupCommit) close() { g.pool.Close() }
