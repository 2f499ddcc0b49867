package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	gendb "parley/gen/db"
	"parley/internal/fault"
)

const (
	// sharedLockTimeout is how long statements that share a transaction wait for a row that
	// somebody else has locked. Then the one that waits is taken out, so that the others
	// need not wait for it.
	sharedLockTimeout = "200ms"
	// waryLockTimeout is for how long once one of them has waited in vain: what was locked then
	// is out, and what has been locked since is often of the same transaction.
	waryLockTimeout = "20ms"
	// sharedTime bounds a transaction that is shared: while it goes on nobody else's
	// begins, so one that hangs holds up all.
	sharedTime = 10 * time.Second
	// apartTime bounds a statement that was taken out.
	apartTime = 30 * time.Second
	// maxApart is how many statements that were taken out run at once, each on a
	// connection of the pool.
	maxApart = 4
	// maxExclusions is how often statements are taken out of what is to be committed
	// together before the rest of it takes another turn.
	maxExclusions = 16
)

// carryOut commits statements together, but for those that keep the others from it.
func (s *sharing) carryOut(batch []*shared) {
	slices.SortStableFunc(batch, func(a, b *shared) int { return a.place.compare(b.place) })
	ctx, cancel := context.WithTimeout(context.Background(), sharedTime)
	defer cancel()
	for attempt := range maxExclusions {
		results, failed, err := s.commit(ctx, batch, attempt > 0)
		if err == nil {
			s.tally.commits.Add(1)
			s.tally.shared.Add(int64(len(batch)))
			for i, one := range batch {
				one.together = len(batch)
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
		isMeant := func(Place) bool { return true } // it is not known whose it is
		if failed != nil {
			culprits := s.culprits(ctx, batch, failed, err)
			isMeant = func(place Place) bool { return culprits[place] }
		}
		if batch = s.exclude(batch, isMeant); len(batch) == 0 {
			return
		}
	}
	// Who has nothing to do with it comes first again.
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range batch {
		s.keep(one)
	}
	s.waiting = append(batch, s.waiting...)
}

// culprits are the places whose statements keep the others from being committed: that of
// the one that failed and, where it waited for a lock in vain, all that are locked. To meet
// each of those by itself would have the rest carried out as often in vain.
func (s *sharing) culprits(ctx context.Context, batch []*shared, failed *shared, err error) map[Place]bool {
	found := map[Place]bool{failed.place: true}
	if !isLockTimeout(err) {
		return found
	}
	var organizations, sessions []uuid.UUID
	for _, one := range batch {
		organizations = append(organizations, one.place.OrganizationID)
		sessions = append(sessions, one.place.SessionID)
	}
	// Where this fails, the next attempt does too, or meets what it would have found.
	held, _ := gendb.New(s.pool).ListHeldSessions(ctx, organizations, sessions)
	for _, session := range held {
		found[Place{OrganizationID: session.OrganizationID, SessionID: session.ID}] = true
	}
	return found
}

// exclude takes out the statements of the places that are meant, and returns the others.
func (s *sharing) exclude(batch []*shared, isMeant func(Place) bool) (rest []*shared) {
	out := make(map[Place][]*shared)
	for _, one := range batch {
		if isMeant(one.place) {
			out[one.place] = append(out[one.place], one)
		} else {
			rest = append(rest, one)
		}
	}
	for _, ofPlace := range out {
		s.takeOut(ofPlace)
	}
	return rest
}

// commit runs statements in one transaction, in one round trip. Without an error it is
// committed, and results has for each whether there was a row. With one nothing is
// committed, as far as is known, and failed is the statement that failed; nil when it
// was none of them. A wary one waits for locks only briefly.
func (s *sharing) commit(ctx context.Context, batch []*shared, isWary bool) (results []error, failed *shared, err error) {
	var sent pgx.Batch
	if isWary {
		sent.Queue("SELECT set_config('lock_timeout', '" + waryLockTimeout + "', true)")
	}
	for _, one := range batch {
		sent.Queue(one.sql, one.args...)
	}
	answers := s.pool.SendBatch(ctx, &sent)
	results = make([]error, len(batch))
	if isWary {
		_, _ = answers.Exec() // should it fail, so do those after it
	}
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

// takeOut has statements of one place run by themselves, one after the other, and those
// that wait for it after them.
func (s *sharing) takeOut(out []*shared) {
	place := out[0].place
	s.tally.apart.Add(int64(len(out)))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range out {
		s.keep(one)
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(one *shared) bool {
		if one.place != place {
			return false
		}
		out = append(out, one)
		return true
	})
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
		ctx, cancel := context.WithTimeout(context.Background(), apartTime)
		err := s.solo.QueryRow(ctx, one.sql, one.args...).Scan(one.dest...)
		if ctx.Err() != nil && err != nil {
			err = lost(err)
		}
		one.together = 1
		one.end(err)
		cancel()
		<-s.slots
	}
}
