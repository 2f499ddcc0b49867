package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	gendb "parley/gen/db"
	"parley/internal/fault"
)

const (
	// maxShared and maxSharedBytes bound what is committed together.
	maxShared      = 128
	maxSharedBytes = 1 << 20
	// maxWaiting and maxWaitingBytes bound what waits for that; what is beyond is refused.
	maxWaiting      = 4096
	maxWaitingBytes = 64 << 20
	// sharedLockTimeout is how long statements that share a transaction wait for a row that
	// somebody else has locked. Then the one that waits is taken out, so that the others
	// need not wait for it.
	sharedLockTimeout = "200ms"
	// sharedTime bounds a transaction that is shared.
	sharedTime = 30 * time.Second
	// maxApart is how many statements that were taken out run at once, each on a
	// connection of the pool.
	maxApart = 4
	// maxExclusions is how often statements are taken out of what is to be committed
	// together before all of it is taken apart.
	maxExclusions = 8
)

// Place is what a statement locks, and all that it locks: one session.
type Place struct{ OrganizationID, SessionID uuid.UUID }

func (p Place) compare(other Place) int {
	return cmp.Or(bytes.Compare(p.OrganizationID[:], other.OrganizationID[:]), bytes.Compare(p.SessionID[:], other.SessionID[:]))
}

// Sharing returns queries whose statements share their transactions with those of other
// callers: whatever is asked while a transaction is being committed is committed
// together by the next one. A statement that meets nobody waits for nobody. Each returns
// when it is committed, with the errors that it would have by itself; those of one place
// are carried out in the order in which they were asked.
//
// Only for statements that return one row and lock no session but the place: they are
// sorted by their places, so that two such transactions cannot wait for each other.
//
// INVARIANT: a result is handed out after the commit, never before it.
func (s *Store) Sharing(place Place) *gendb.Queries {
	if s.within != nil {
		return s.within
	}
	return gendb.New(sharer{translator: translator{on: s.pool, retries: maxRetries}, sharing: s.sharing, place: place})
}

// sharer stands between the generated queries and what is committed together. All but
// statements of one row run by themselves.
type sharer struct {
	translator
	sharing *sharing
	place   Place
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
	place Place
	sql   string
	args  []any
	dest  []any
	bytes int
	// done is closed when err is what became of it, and dest is written.
	done chan struct{}
	err  error
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
	pool *pgxpool.Pool // of one connection, with the short lock_timeout
	solo translator    // for what was taken out

	mu        sync.Mutex
	isRunning bool
	waiting   []*shared
	bytes     int // that wait, in all queues
	count     int
	// apart are the places of which statements were taken out: what comes for them later
	// waits behind those.
	apart map[Place]*queue
	slots chan struct{}
}

// queue is the statements of a place that run one after the other by themselves.
type queue struct{ waiting []*shared }

func openSharing(ctx context.Context, config *pgxpool.Config, solo translator) (*sharing, error) {
	config = config.Copy()
	config.MaxConns, config.MinConns, config.MinIdleConns = 1, 0, 0
	config.ConnConfig.RuntimeParams["lock_timeout"] = sharedLockTimeout
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the connection that is shared: %w", err)
	}
	return &sharing{pool: pool, solo: solo, apart: make(map[Place]*queue), slots: make(chan struct{}, maxApart)}, nil
}

// run has a statement carried out and returns what became of it. A caller whose context
// ends gives it up while it waits, and not once it has begun.
func (s *sharing) run(ctx context.Context, one *shared) error {
	for _, arg := range one.args {
		switch arg := arg.(type) {
		case string:
			one.bytes += len(arg)
		case []byte:
			one.bytes += len(arg)
		}
	}
	s.mu.Lock()
	queued := s.apart[one.place]
	if s.isRunning || queued != nil {
		if s.count >= maxWaiting || s.bytes+one.bytes > maxWaitingBytes {
			s.mu.Unlock()
			return &fault.Error{Kind: fault.Unavailable, Message: "Too much waits to be stored; try again.", RetryAfter: time.Second}
		}
		s.count++
		s.bytes += one.bytes
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
	<-one.done // it may have been taken out
	return one.err
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
	if !isTaken {
		return ctx.Err()
	}
	<-one.done
	return one.err
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
		switch queued := s.apart[one.place]; {
		case one.isTaken: // given up
		case queued != nil: // its place was taken out after it came
			queued.waiting = append(queued.waiting, one)
		default:
			s.taken(one)
			bytes += one.bytes
			batch = append(batch, one)
		}
	}
	s.waiting = slices.Delete(s.waiting, 0, seen)
	return batch
}

// carryOut commits statements together, or takes out those that keep the others from it.
func (s *sharing) carryOut(batch []*shared) {
	slices.SortStableFunc(batch, func(a, b *shared) int { return a.place.compare(b.place) })
	ctx, cancel := context.WithTimeout(context.Background(), sharedTime)
	defer cancel()
	for range maxExclusions {
		results, failed, err := s.commit(ctx, batch)
		if err == nil {
			for i, one := range batch {
				one.end(translate(results[i]))
			}
			return
		}
		if !isOfStatement(err) {
			for _, one := range batch {
				one.end(lost(err))
			}
			return
		}
		if failed == nil {
			break
		}
		var rest, out []*shared
		for _, one := range batch {
			if one.place == failed.place {
				out = append(out, one)
			} else {
				rest = append(rest, one)
			}
		}
		s.takeOut(out)
		if batch = rest; len(batch) == 0 {
			return
		}
	}
	for len(batch) > 0 {
		same := 1
		for same < len(batch) && batch[same].place == batch[0].place {
			same++
		}
		s.takeOut(batch[:same:same])
		batch = batch[same:]
	}
}

// commit runs statements in one transaction, in one round trip. Without an error it is
// committed, and results has for each whether there was a row. With one nothing is
// committed, as far as is known, and failed is the statement that failed; nil when it
// was none of them.
func (s *sharing) commit(ctx context.Context, batch []*shared) (results []error, failed *shared, err error) {
	var sent pgx.Batch
	for _, one := range batch {
		sent.Queue(one.sql, one.args...)
	}
	answers := s.pool.SendBatch(ctx, &sent)
	results = make([]error, len(batch))
	for i, one := range batch {
		err = answers.QueryRow().Scan(one.dest...)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			failed = one
			break
		}
		results[i] = err
	}
	closed := answers.Close() // only this tells whether it was committed
	if failed == nil {
		err = closed
	}
	return results, failed, err
}

// isOfStatement tells an error of a statement, with which nothing was committed, from
// one of the connection.
func isOfStatement(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.SeverityUnlocalized == "ERROR"
	}
	_, wasNotSent := errors.AsType[pgx.ErrPreprocessingBatch](err)
	return wasNotSent
}

// lost is that the connection was lost; whether the transaction was committed before is
// not known, so that nobody is told that it was.
func lost(err error) error {
	if told, ok := errors.AsType[*fault.Error](translate(err)); ok {
		return told
	}
	return unavailable(err)
}

// takeOut has statements of one place run by themselves, one after the other.
func (s *sharing) takeOut(out []*shared) {
	place := out[0].place
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range out {
		one.isTaken = false
		s.count++
		s.bytes += one.bytes
	}
	s.apart[place] = &queue{waiting: out}
	go s.runApart(place) // ends when nothing waits; every caller waits for its own statement
}

// runApart carries out what waits for a place, one by one, each in its own transaction
// with the patience and the repeats of any other statement.
func (s *sharing) runApart(place Place) {
	for {
		s.slots <- struct{}{}
		s.mu.Lock()
		queued := s.apart[place]
		for len(queued.waiting) > 0 && queued.waiting[0].isTaken { // given up
			queued.waiting = queued.waiting[1:]
		}
		if len(queued.waiting) == 0 {
			delete(s.apart, place)
			s.mu.Unlock()
			<-s.slots
			return
		}
		one := queued.waiting[0]
		queued.waiting = queued.waiting[1:]
		s.taken(one)
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), sharedTime)
		one.end(s.solo.QueryRow(ctx, one.sql, one.args...).Scan(one.dest...))
		cancel()
		<-s.slots
	}
}

func (s *sharing) close() { s.pool.Close() }
