package chat

import (
	"context"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
)

const (
	// maxAttempts bounds how often a run is taken up: what kills the process each
	// time must not do so for ever.
	maxAttempts = 3
	// sweepInterval is how often abandoned runs are looked for.
	sweepInterval = 2 * time.Second
	// lookTime is how long one look at the database may take. Where it hangs, the next one
	// is made over another connection.
	lookTime = 5 * time.Second
	// forgetInterval is how often Idempotency-Keys, and implied conversations without a
	// message, of more than a day ago are forgotten.
	forgetInterval = time.Hour
	// forgetBatch is how many keys are deleted at a time.
	forgetBatch = 10_000
	// passedOverPause is when what could not be begun is looked at again.
	passedOverPause = 200 * time.Millisecond
	// sweepBatch is how many are taken up at a time.
	sweepBatch = 50
)

// tidy folds the counters and forgets what is old, which may take its time, until the
// replies stop.
func (c *Chat) tidy() {
	ticker := time.NewTicker(foldInterval)
	defer ticker.Stop()
	for forgotten := (time.Time{}); ; {
		if time.Since(forgotten) > forgetInterval {
			forgotten = time.Now()
			if err := c.forget(c.sweeping); err != nil && c.sweeping.Err() == nil {
				c.log.Error("what is old could not be forgotten", "error", err)
			}
		}
		if err := c.fold(c.sweeping); err != nil && c.sweeping.Err() == nil {
			c.log.Error("the counters could not be folded", "error", err)
		}
		select {
		case <-c.sweeping.Done():
			return
		case <-ticker.C:
		}
	}
}

// sweep ends visits that are over and looks out for watchers, until the replies stop.
func (c *Chat) sweep() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		c.endVisits(c.sweeping)
		if err := c.lookOut(c.sweeping); err != nil && c.sweeping.Err() == nil {
			c.log.Error("the watched conversations could not be compared", "error", err)
		}
		select {
		case <-c.sweeping.Done():
			return
		case <-ticker.C:
		}
	}
}

// forget deletes old Idempotency-Keys, and implied conversations that never had a
// message.
func (c *Chat) forget(ctx context.Context) error {
	for deleted := int64(forgetBatch); deleted == forgetBatch; {
		var err error
		if deleted, err = c.store.DeleteExpiredIdempotencyKeys(ctx, forgetBatch); err != nil {
			return err
		}
	}
	return c.store.DeleteEmptyConversations(ctx)
}

// releaseAll gives the runs back that an earlier process left behind; should it fail,
// they are taken up when their lease is over.
func (c *Chat) releaseAll() {
	left, err := c.store.ReleaseAllLeases(c.sweeping)
	if err != nil && c.sweeping.Err() == nil {
		c.log.Error("the runs of an earlier process could not be given back", "error", err)
	}
	if left > 0 {
		c.log.Info("an earlier process left runs behind", "runs", left)
	}
}

// takeUp begins another attempt at the runs whose lease is over.
func (c *Chat) takeUp(ctx context.Context) error {
	looking, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	abandoned, err := c.store.ListExpiredRuns(looking, c.slots.full(), sweepBatch)
	if err != nil {
		return err
	}
	for _, run := range abandoned {
		if !c.slots.takeNext(run.OrganizationID) {
			continue
		}
		work, ok, err := c.retake(ctx, run)
		if !ok {
			c.slots.returned(run.OrganizationID)
		} else {
			c.tally.takenUp.Add(1)
			c.log.Info("an abandoned run is taken up", "run_id", run.ID, "attempt", work.attempt)
			go c.answer(work) // Close waits for its slot
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// retake begins another attempt; not ok when somebody else was faster.
func (c *Chat) retake(ctx context.Context, run db.Run) (task, bool, error) {
	taken, err := c.store.ReclaimRun(ctx, db.ReclaimRunParams{
		OrganizationID: run.OrganizationID,
		ID:             run.ID,
		Attempt:        run.Attempt,
		LeaseSeconds:   leaseSeconds,
	})
	if apperr.Is(err, apperr.NotFound) {
		return task{}, false, nil
	}
	if err != nil {
		return task{}, false, err
	}
	// What is taken is begun, even when the sweep stops meanwhile.
	work, ok := c.begun(context.WithoutCancel(ctx), taken)
	return work, ok, nil
}

// serveQueue begins what waits whenever it is called, and every few seconds what other
// processes have left waiting or abandoned, which comes first, until the sweep stops.
func (c *Chat) serveQueue() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for taken := (time.Time{}); ; {
		if time.Since(taken) >= sweepInterval {
			taken = time.Now()
			if err := c.takeUp(c.sweeping); err != nil && c.sweeping.Err() == nil {
				c.log.Error("abandoned runs could not be taken up", "error", err)
			}
		}
		if err := c.beginWaiting(c.sweeping); err != nil && c.sweeping.Err() == nil {
			c.log.Error("what waits in the queue could not be begun", "error", err)
		}
		select {
		case <-c.sweeping.Done():
			return
		case <-c.slots.wake:
		case <-ticker.C:
		}
	}
}

// beginWaiting begins as many of the runs that wait as there are slots for.
func (c *Chat) beginWaiting(ctx context.Context) error {
	passedOver := []uuid.UUID{} // somebody else was faster, or has them locked
	for isMore := true; isMore; {
		free, organizations, running, refusals := c.slots.room()
		if free <= 0 {
			c.slots.settle(refusals, false)
			return nil
		}
		looking, cancel := context.WithTimeout(ctx, lookTime)
		waiting, err := c.store.ListSessionsWithQueuedRuns(looking, db.ListSessionsWithQueuedRunsParams{
			Batch:              int32(free),
			OrganizationLimit:  int32(c.slots.organizationLimit),
			OrganizationIds:    organizations,
			RunningCounts:      running,
			ExcludedSessionIds: passedOver,
		})
		cancel()
		if err != nil {
			return err
		}
		for _, one := range waiting {
			if !c.slots.takeNext(one.OrganizationID) {
				continue
			}
			work, ok, err := c.next(one.OrganizationID, one.SessionID, false)
			if ok {
				go c.answer(work) // Close waits for its slot
				continue
			}
			c.slots.returned(one.OrganizationID)
			if err != nil {
				return err
			}
			passedOver = append(passedOver, one.SessionID)
		}
		isMore = len(waiting) >= free && ctx.Err() == nil
		c.slots.settle(refusals, isMore)
	}
	if len(passedOver) > 0 { // a lock is seldom held for long, and nobody tells when it is given up
		time.AfterFunc(passedOverPause, c.slots.call)
	}
	return nil
}
