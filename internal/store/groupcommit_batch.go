package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	gendb "parley/gen/db"
	"parley/internal/apperr"
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
	// apartTime bounds a turn of a statement that was taken out.
	apartTime = 30 * time.Second
	// apartPatience is for how long it waits, from its first turn, for a row that somebody else
	// has locked: a sharedLockTimeout each turn, so that others have theirs.
	apartPatience = 10 * time.Second
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
		patience := "" // the connection's own
		if attempt > 0 {
			patience = waryLockTimeout
		}
		results, failed, err := commit(ctx, s.pool, batch, patience)
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
		isMeant := func(SessionKey) bool { return true } // it is not known whose it is
		if failed != nil {
			culprits := s.culprits(ctx, batch, failed, err)
			isMeant = func(place SessionKey) bool { return culprits[place] }
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
func (s *sharing) culprits(ctx context.Context, batch []*shared, failed *shared, err error) map[SessionKey]bool {
	found := map[SessionKey]bool{failed.place: true}
	if !isLockTimeout(err) {
		return found
	}
	var organizations, sessions []uuid.UUID
	for _, one := range batch {
		organizations = append(organizations, one.place.OrganizationID)
		sessions = append(sessions, one.place.SessionID)
	}
	// What is locked for it need not be stored. Where it fails, the next attempt does too, or
	// meets what it would have found.
	held, _ := gendb.New(setting{s.pool, "SET LOCAL synchronous_commit = off"}).ListLockedSessions(ctx, organizations, sessions)
	for _, session := range held {
		found[SessionKey{OrganizationID: session.OrganizationID, SessionID: session.ID}] = true
	}
	return found
}

// exclude takes out the statements of the places that are meant, and returns the others.
func (s *sharing) exclude(batch []*shared, isMeant func(SessionKey) bool) (rest []*shared) {
	out := make(map[SessionKey][]*shared)
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
// was none of them. patience is how long they wait for a lock; empty: as the connection is
// set.
func commit(ctx context.Context, pool *pgxpool.Pool, batch []*shared, patience string) (results []error, failed *shared, err error) {
	var sent pgx.Batch
	if patience != "" {
		sent.Queue("SELECT set_config('lock_timeout', $1, true)", patience)
	}
	for _, one := range batch {
		sent.Queue(one.sql, one.args...)
	}
	answers := pool.SendBatch(ctx, &sent)
	results = make([]error, len(batch))
	if patience != "" {
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
	if told, ok := errors.AsType[*apperr.Error](translate(err)); ok {
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

// runApart carries out what waits for a place, one by one, each in its own transaction. In
// a turn one waits for a lock no longer than the others are kept waiting for theirs, and
// has turns until its patience ends.
func (s *sharing) runApart(place SessionKey) {
	for {
		s.slots <- struct{}{}
		one := s.nextApart(place)
		if one == nil {
			<-s.slots
			return
		}
		if one.firstTurn.IsZero() {
			one.firstTurn = time.Now()
		}
		ctx, cancel := context.WithTimeout(context.Background(), apartTime)
		results, _, err := commit(ctx, s.patient, []*shared{one}, sharedLockTimeout)
		cancel()
		<-s.slots
		switch {
		case err == nil:
			one.together = 1
			one.end(translate(results[0]))
		case (isLockTimeout(err) || lostRace(err)) && time.Since(one.firstTurn) < apartPatience:
			s.mu.Lock()
			s.keep(one)
			queued := s.apart[place]
			queued.waiting = slices.Insert(queued.waiting, 0, one)
			s.mu.Unlock()
		case isOfStatement(err):
			one.end(translate(err))
		default:
			one.end(lost(err))
		}
	}
}

// nextApart takes the oldest statement that waits for a place. nil: there is none, and the
// place is like any other again.
func (s *sharing) nextApart(place SessionKey) *shared {
	s.mu.Lock()
	defer s.mu.Unlock()
	queued := s.apart[place]
	for len(queued.waiting) > 0 {
		one := queued.waiting[0]
		queued.waiting = queued.waiting[1:]
		if !one.isTaken { // else it was given up
			s.taken(one)
			return one
		}
	}
	delete(s.apart, place)
	return nil
}
