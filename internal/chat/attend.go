package chat

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
)

const (
	// attendInterval is how soon an attempt learns that it was cancelled through
	// another process.
	attendInterval = 500 * time.Millisecond
	// lookInterval is how often the replies that another process writes are looked for
	// in the database.
	lookInterval = 2 * time.Second
)

// liveReplies holds the replies that this process writes, and those that somebody
// here waits for while they wait in the queue or another process writes them.
type liveReplies struct {
	mu    sync.Mutex
	byRun map[uuid.UUID]*liveReply
	// closed is why nothing is waited for any more.
	closed *apperr.Error
}

type liveReply struct {
	*Reply
	organization uuid.UUID
	// attempt is the one that this process works on; 0: none.
	attempt int
	end     context.CancelCauseFunc
	// isAwaited is set once the run is committed: from then on its end is looked for.
	isAwaited bool
	// announced is the newest attempt whose beginning elsewhere was told to who watches.
	announced int
}

// add returns the reply of a run, made when new.
func (l *liveReplies) add(organization, run, conversation, message uuid.UUID) *Reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found, ok := l.byRun[run]; ok {
		return found.Reply
	}
	made := &liveReply{Reply: newReply(run, conversation, message), organization: organization}
	l.byRun[run] = made
	return made.Reply
}

// await has the end of a run looked for, whoever writes its reply.
func (l *liveReplies) await(run uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.byRun[run]
	if found == nil {
		return
	}
	if found.isAwaited = true; l.closed != nil {
		l.failAwaited(l.closed)
	}
}

// fail ends a reply for its listeners when an attempt of this process has come to
// nothing that will be made good here. One of a later attempt is left alone.
func (l *liveReplies) fail(run uuid.UUID, attempt int, why *apperr.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := l.byRun[run]; found != nil && found.attempt == attempt {
		found.fail(why)
		delete(l.byRun, run)
	}
}

// disappoint tells those who wait for a reply from elsewhere to wait no longer.
func (l *liveReplies) disappoint(why *apperr.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failAwaited(why)
}

// close disappoints those who wait, and who will.
func (l *liveReplies) close(why *apperr.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = why
	l.failAwaited(why)
}

// failAwaited is called with the lock held: what begins to be written here meanwhile
// must not be ended.
func (l *liveReplies) failAwaited(why *apperr.Error) {
	for run, one := range l.byRun {
		if one.attempt == 0 && one.isAwaited {
			one.fail(why)
			delete(l.byRun, run)
		}
	}
}

// work notes that this process writes a reply; end is called when it must not go on,
// as that of an earlier attempt is now.
func (l *liveReplies) work(organization uuid.UUID, reply *Reply, attempt int, end context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.byRun[reply.RunID]
	if found == nil { // whoever listened has been told to wait no longer
		found = &liveReply{Reply: reply, organization: organization}
		l.byRun[reply.RunID] = found
	}
	if found.end != nil {
		found.end(errLost)
	}
	found.attempt, found.end = attempt, end
}

// leave notes that an attempt of this process writes no longer: another one will end
// the reply.
func (l *liveReplies) leave(run uuid.UUID, attempt int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := l.byRun[run]; found != nil && found.attempt == attempt {
		found.attempt, found.end, found.isAwaited = 0, nil, true
	}
}

// stop ends an attempt at a run, where this process makes it.
func (l *liveReplies) stop(run uuid.UUID, attempt int, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := l.byRun[run]; found != nil && found.attempt == attempt && found.end != nil {
		found.end(why)
	}
}

// drop forgets the reply of a run that was not begun by who has added it; where the queue
// has begun it meanwhile, it is being written.
func (l *liveReplies) drop(run uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := l.byRun[run]; found != nil && found.attempt == 0 {
		delete(l.byRun, run)
	}
}

// remove forgets a run's reply; who listens to it keeps it.
func (l *liveReplies) remove(run uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byRun, run)
}

// worked lists the attempts that this process makes.
func (l *liveReplies) worked() (organizations, runs []uuid.UUID, attempts []int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for run, one := range l.byRun {
		if one.attempt > 0 {
			organizations = append(organizations, one.organization)
			runs = append(runs, run)
			attempts = append(attempts, int32(one.attempt))
		}
	}
	return organizations, runs, attempts
}

// awaited lists the replies whose end comes from elsewhere.
func (l *liveReplies) awaited() []*liveReply {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*liveReply
	for _, one := range l.byRun {
		if one.attempt == 0 && one.isAwaited {
			found = append(found, one)
		}
	}
	return found
}

// find returns a run's reply, and the attempt that this process makes, 0 for none; nil
// where nobody here writes it or waits for it.
func (l *liveReplies) find(run uuid.UUID) (found *liveReply, attempt int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found = l.byRun[run]; found != nil {
		attempt = found.attempt
	}
	return found, attempt
}

// announce tells whether the beginning of an attempt is news to who watches here.
func (l *liveReplies) announce(run uuid.UUID, attempt int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.byRun[run]
	if found == nil || attempt <= found.announced {
		return false
	}
	found.announced = attempt
	return true
}

// of lists the runs of a conversation.
func (l *liveReplies) of(conversation uuid.UUID) []uuid.UUID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []uuid.UUID
	for run, one := range l.byRun {
		if one.ConversationID == conversation {
			found = append(found, run)
		}
	}
	return found
}

// attend looks after the live replies until ctx is done: it renews the leases of
// those that this process writes, stops those that were cancelled or lost, gives back
// those that nobody writes, and tells the end of the others.
func (c *Chat) attend(ctx context.Context) {
	ticker := time.NewTicker(attendInterval)
	defer ticker.Stop()
	var renewed, looked time.Time
	heard := time.Now() // of the database
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// A connection that hangs must not keep the leases from being renewed.
		round, cancel := context.WithTimeout(ctx, leaseRenewal)
		if time.Since(renewed) >= leaseRenewal {
			renewed = time.Now()
			c.renewLeases(round)
		}
		c.stopEnded(round)
		if c.sweeping.Err() != nil {
			c.live.disappoint(stopping()) // nothing that waits is begun any more
		}
		if time.Since(looked) >= lookInterval {
			looked = time.Now()
			switch err := c.look(round); {
			case err == nil:
				heard = looked
			case time.Since(heard) > finishPatience:
				c.live.disappoint(apperr.New(apperr.Unavailable, "The database cannot be reached; the reply may still come."))
			}
		}
		c.settleDoubts(round)
		cancel()
	}
}

// renewLeases says that the attempts of this process live. Should it fail, the next
// ones come before the leases are over.
func (c *Chat) renewLeases(ctx context.Context) {
	organizations, runs, attempts := c.live.worked()
	if len(runs) == 0 {
		return
	}
	err := c.store.RenewLeases(ctx, db.RenewLeasesParams{
		OrganizationIds: organizations, Ids: runs, Attempts: attempts, LeaseSeconds: leaseSeconds,
	})
	if err != nil {
		c.tally.unrenewed.Add(1)
	}
	if err != nil && ctx.Err() == nil {
		c.log.Error("the leases could not be renewed", "runs", len(runs), "error", err)
	}
}

// stopEnded stops the attempts that were cancelled, or that another one has
// replaced.
func (c *Chat) stopEnded(ctx context.Context) {
	organizations, runs, attempts := c.live.worked()
	if len(runs) == 0 {
		return
	}
	ended, err := c.store.ListCancelledOrLostAttempts(ctx, organizations, runs, attempts)
	if err != nil {
		return // the lease, and the fence at the end, hold without it
	}
	for _, one := range ended {
		why := errCancelled
		if one.IsLost {
			why = errLost
		}
		c.live.stop(one.ID, int(one.Attempt), why)
	}
}

// look ends the awaited replies whose run is over in the database: another process
// wrote it, it was cancelled in the queue, or its conversation is deleted.
func (c *Chat) look(ctx context.Context) error {
	return c.settle(ctx, c.live.awaited(), nil)
}

// settle ends those of the replies whose run is over. What is known of the stored
// messages, by run, is not read again.
func (c *Chat) settle(ctx context.Context, awaited []*liveReply, stored map[uuid.UUID]*db.Message) error {
	if len(awaited) == 0 {
		return nil
	}
	organizations, ids := make([]uuid.UUID, len(awaited)), make([]uuid.UUID, len(awaited))
	for i, one := range awaited {
		organizations[i], ids[i] = one.organization, one.RunID
	}
	found, err := c.store.ListRuns(ctx, organizations, ids)
	if err != nil {
		return err
	}
	runs := make(map[uuid.UUID]db.Run, len(found))
	for _, run := range found {
		runs[run.ID] = run
	}
	for _, one := range awaited {
		run, isThere := runs[one.RunID]
		if isThere && run.FinishedAt == nil {
			continue
		}
		if err := c.conclude(ctx, one, run, stored[one.RunID]); err != nil {
			return err
		}
	}
	return nil
}

// conclude ends a reply as its run has; the zero run is one that is gone. stored is its
// message where it was read already.
func (c *Chat) conclude(ctx context.Context, awaited *liveReply, run db.Run, stored *db.Message) (err error) {
	if run.ID == uuid.Nil {
		awaited.fail(apperr.New(apperr.NotFound, "The conversation was deleted."))
		c.live.remove(awaited.RunID)
		return nil
	}
	var outcome *Outcome
	if stored != nil {
		outcome, err = toOutcome(run, stored)
	} else {
		outcome, err = c.outcomeOf(ctx, run)
	}
	switch {
	case apperr.Is(err, apperr.Unavailable), err != nil && ctx.Err() != nil: // the next look ends it
		return err
	case err != nil:
		c.log.Error("the end of a reply could not be read", "run_id", run.ID, "error", err)
		awaited.fail(failure(err))
	default:
		awaited.Reply.end(int(run.Attempt), outcome)
	}
	c.live.remove(awaited.RunID)
	return nil
}
