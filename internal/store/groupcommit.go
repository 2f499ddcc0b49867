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
	// maxShared and maxSharedBytes bound what is committed together.
	maxShared      = 128
	maxSharedBytes = 1 << 20
	// maxWaiting and maxWaitingBytes bound what waits for that; what is beyond is refused.
	maxWaiting      = 4096
	maxWaitingBytes = 64 << 20
)

// SessionKey is what a statement locks, and all that it locks: one session.
type SessionKey struct{ OrganizationID, SessionID uuid.UUID }

func (p SessionKey) compare(other SessionKey) int {
	return cmp.Or(bytes.Compare(p.OrganizationID[:], other.OrganizationID[:]), bytes.Compare(p.SessionID[:], other.SessionID[:]))
}

// GroupCommit returns queries whose statements share their transactions with those of other
// callers: whatever is asked while a transaction is being committed is committed
// together by the next one. A statement that meets nobody waits for nobody. Each returns
// when it is committed, with the errors that it would have by itself; those of one place
// are carried out in the order in which they were asked.
//
// Only for statements that return one row and lock no session but the place: they are
// sorted by their places, so that two such transactions cannot wait for each other.
//
// INVARIANT: a result is handed out after the commit, never before it.
func (s *Store) GroupCommit(place SessionKey) *gendb.Queries {
	if s.within != nil {
		return s.within
	}
	return gendb.New(sharer{translator: translator{on: s.pool, retries: maxRetries}, sharing: s.sharing, place: place})
}

// Pending is what waits to be committed with others.
type Pending struct {
	Statements, Bytes int
	IsolatedSessions  int // places whose statements run by themselves
}

// Pending tells what waits for GroupCommit at this moment.
func (s *Store) Pending() Pending {
	s.sharing.mu.Lock()
	defer s.sharing.mu.Unlock()
	return Pending{Statements: s.sharing.count, Bytes: s.sharing.bytes, IsolatedSessions: len(s.sharing.apart)}
}

// sharer stands between the generated queries and what is committed together. All but
// statements of one row run by themselves.
type sharer struct {
	translator
	sharing *sharing
	place   SessionKey
}

// QueryRow runs a statement that returns one row.
func (s sharer) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return sharedRow{ctx: ctx, by: s, sql: sql, args: args}
}

type sharedRow struct {
	ctx  context.Context //nolint:containedctx // a row is part of a call, as pgx's own
	by   sharer
	sql  string
	args []any
}

// Scan runs the statement and reads its row.
func (r sharedRow) Scan(dest ...any) error {
	return r.by.sharing.run(r.ctx, &shared{place: r.by.place, sql: r.sql, args: r.args, dest: dest, done: make(chan struct{})})
}

// shared is one statement among others.
type shared struct {
	place SessionKey
	sql   string
	args  []any
	dest  []any
	bytes int
	// done is closed when err is what became of it, and dest is written; together is how
	// many it was committed with, itself included.
	done     chan struct{}
	err      error
	together int
	// firstTurn is when it was first carried out after it had been taken out.
	firstTurn time.Time
	// isTaken is set when it is no longer waiting: it can then not be given up.
	isTaken bool
}

func (s *shared) end(err error) {
	s.err = err
	close(s.done)
}

// sharing gathers statements that are to be committed together. There is one such
// transaction at a time, run by whoever comes first: it has no goroutine of its own
// while there is nothing to do.
type sharing struct {
	pool *pgxpool.Pool // of one connection at a time, with the short lock_timeout
	// patient is for what was taken out.
	patient *pgxpool.Pool
	tally   *tally
	traces  *trace.Tracer

	asked atomic.Int64 // how many statements came

	mu        sync.Mutex
	isRunning bool
	waiting   []*shared
	bytes     int // that wait, in all queues
	count     int
	// apart are the places of which statements were taken out: what comes for them later
	// waits behind those.
	apart map[SessionKey]*queue
	slots chan struct{}
}

// queue is the statements of a place that run one after the other by themselves.
type queue struct{ waiting []*shared }

func openSharing(ctx context.Context, config *pgxpool.Config, patient *pgxpool.Pool, tally *tally, traces *trace.Tracer) (*sharing, error) {
	config = config.Copy()
	// The second one is for when the first has hung, and is not gone yet.
	config.MaxConns, config.MinConns, config.MinIdleConns = 2, 0, 0
	config.ConnConfig.RuntimeParams["lock_timeout"] = sharedLockTimeout
	pool, err := newPool(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the connection that is shared: %w", err)
	}
	return &sharing{pool: pool, patient: patient, tally: tally, traces: traces, apart: make(map[SessionKey]*queue), slots: make(chan struct{}, maxApart)}, nil
}

// run has a statement carried out and returns what became of it. A caller whose context
// ends gives it up while it waits, and not once it has begun.
func (s *sharing) run(ctx context.Context, one *shared) error {
	if s.traces == nil {
		return s.queue(ctx, one)
	}
	ctx, span := s.traces.StartQuery(ctx, nameOf(one.sql))
	defer span.End()
	err := s.queue(ctx, one)
	if one.together > 0 { // else it was given up
		span.SetNumber("db.operation.batch.size", one.together)
	}
	if err != nil && !apperr.Is(err, apperr.NotFound) {
		span.Fail(string(apperr.KindOf(err)))
	}
	return err
}

func (s *sharing) queue(ctx context.Context, one *shared) error {
	s.asked.Add(1)
	for _, arg := range one.args {
		switch arg := arg.(type) {
		case string:
			one.bytes += len(arg)
		case []byte:
			one.bytes += len(arg)
		case json.RawMessage:
			one.bytes += len(arg)
		}
	}
	s.mu.Lock()
	queued := s.apart[one.place]
	if s.isRunning || queued != nil {
		if s.count >= maxWaiting || s.bytes+one.bytes > maxWaitingBytes {
			s.mu.Unlock()
			return &apperr.Error{Kind: apperr.Unavailable, Message: "Too much waits to be stored; try again.", RetryAfter: time.Second}
		}
		s.keep(one)
		if queued != nil {
			queued.waiting = append(queued.waiting, one)
		} else {
			s.waiting = append(s.waiting, one)
		}
		s.mu.Unlock()
		return s.await(ctx, one)
	}
	s.isRunning, one.isTaken = true, true
	s.mu.Unlock()
	s.carryOut([]*shared{one})
	// What came meanwhile is not this caller's work.
	s.mu.Lock()
	s.isRunning = len(s.waiting) > 0
	isNeeded := s.isRunning
	s.mu.Unlock()
	if isNeeded {
		go s.work() // ends when nothing waits; every caller waits for its own statement
	}
	return s.await(ctx, one) // it may have been taken out
}

func (s *sharing) await(ctx context.Context, one *shared) error {
	select {
	case <-one.done:
		return one.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	isTaken := one.isTaken
	if !isTaken {
		s.taken(one) // whoever comes to it passes it over
	}
	s.mu.Unlock()
	if !isTaken && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return unavailable(ctx.Err())
	}
	if !isTaken {
		return ctx.Err()
	}
	<-one.done
	return one.err
}

// keep notes that a statement waits; the lock is held.
func (s *sharing) keep(one *shared) {
	one.isTaken = false
	s.count++
	s.bytes += one.bytes
}

// taken notes that a statement does not wait any more; the lock is held.
func (s *sharing) taken(one *shared) {
	one.isTaken = true
	s.count--
	s.bytes -= one.bytes
}

// work carries out what waits until nothing does.
func (s *sharing) work() {
	for {
		s.mu.Lock()
		batch := s.next()
		if len(batch) == 0 {
			s.isRunning = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.carryOut(batch)
	}
}

// next takes the oldest statements that wait, as many as may be committed together; the
// lock is held.
func (s *sharing) next() []*shared {
	var batch []*shared
	bytes, seen := 0, 0
	for _, one := range s.waiting {
		if len(batch) == maxShared || len(batch) > 0 && bytes+one.bytes > maxSharedBytes {
			break
		}
		seen++
		if !one.isTaken { // else it was given up
			s.taken(one)
			bytes += one.bytes
			batch = append(batch, one)
		}
	}
	s.waiting = slices.Delete(s.waiting, 0, seen)
	return batch
}

func (s *sharing) close() { s.pool.Close() }
