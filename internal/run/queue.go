package run

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/feed"
)

const (
	// sweepInterval is how often the database is searched for runs that other instances have
	// queued or abandoned.
	sweepInterval = 2 * time.Second
	// reclaimBatch is the maximum number of abandoned runs that one sweep reclaims.
	reclaimBatch = 50
	// skippedPause is the pause before runs that could not be started are tried again.
	skippedPause = 200 * time.Millisecond
	// releaseTime bounds the release of one run.
	releaseTime = 2 * time.Second
)

// serveQueue is the sweeper. It starts queued runs whenever a slot is free. Every few seconds it also searches for
// runs that other instances have abandoned or queued; abandoned runs come first.
func (d *Dispatcher) serveQueue() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for reclaimed := (time.Time{}); ; {
		if time.Since(reclaimed) >= sweepInterval {
			reclaimed = time.Now()
			if err := d.reclaimExpired(d.starting); err != nil && d.starting.Err() == nil {
				d.log.Error("reclaim expired runs", "err", err)
			}
		}
		if err := d.startQueued(d.starting); err != nil && d.starting.Err() == nil {
			d.log.Error("start queued runs", "err", err)
		}
		select {
		case <-d.starting.Done():
			return
		case <-d.slots.wake:
		case <-ticker.C:
		}
	}
}

// reclaimExpired starts another attempt at runs whose lease has expired.
func (d *Dispatcher) reclaimExpired(ctx context.Context) error {
	query, cancel := context.WithTimeout(ctx, feed.QueryTimeout)
	defer cancel()
	abandoned, err := d.store.ListExpiredRuns(query, d.slots.fullOrganizations(), reclaimBatch)
	if err != nil {
		return err
	}
	for _, run := range abandoned {
		if !d.slots.takeQueued(run.OrganizationID) {
			continue
		}
		work, ok, err := d.reclaim(ctx, run)
		if !ok {
			d.slots.putBack(run.OrganizationID)
		} else {
			d.tally.reclaimed.Add(1)
			d.log.Info("reclaim expired run", "run_id", run.ID, "attempt", work.number)
			go d.answer(work) // Close waits for its slot
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reclaim takes over an abandoned run. It returns false if another instance was faster, or the
// lease was renewed.
func (d *Dispatcher) reclaim(ctx context.Context, run db.Run) (attempt, bool, error) {
	taken, err := d.store.ReclaimRun(ctx, db.ReclaimRunParams{
		OrganizationID: run.OrganizationID,
		ID:             run.ID,
		Attempt:        run.Attempt,
		LeaseSeconds:   LeaseSeconds,
	})
	if apperr.Is(err, apperr.NotFound) {
		return attempt{}, false, nil
	}
	if err != nil {
		return attempt{}, false, err
	}
	// A run that was taken over is started even if the sweeper stops meanwhile.
	work, ok := d.newAttempt(context.WithoutCancel(ctx), taken)
	return work, ok, nil
}

// startQueued starts queued runs until no slot is free.
func (d *Dispatcher) startQueued(ctx context.Context) error {
	skipped := []uuid.UUID{} // conversations that are locked, or whose run another instance started
	for hasMore := true; hasMore; {
		begun := d.slots.beginScan()
		if begun.free <= 0 {
			d.slots.endScan(begun, false)
			return nil
		}
		query, cancel := context.WithTimeout(ctx, feed.QueryTimeout)
		waiting, err := d.store.ListSessionsWithQueuedRuns(query, db.ListSessionsWithQueuedRunsParams{
			Batch:              int32(begun.free),
			OrganizationLimit:  int32(begun.share),
			OrganizationIds:    begun.organizations,
			RunningCounts:      begun.taken,
			ExcludedSessionIds: skipped,
		})
		cancel()
		if err != nil {
			return err
		}
		started, before := 0, len(skipped)
		for _, session := range waiting {
			if !d.slots.takeQueued(session.OrganizationID) {
				continue
			}
			work, ok, err := d.next(session.OrganizationID, session.SessionID, false)
			if ok {
				go d.answer(work) // Close waits for its slot
				started++
				continue
			}
			d.slots.putBack(session.OrganizationID)
			if err != nil {
				return err
			}
			skipped = append(skipped, session.SessionID)
		}
		// Without any progress, the rest waits for shares to grow.
		hasMore = len(waiting) >= begun.free && (started > 0 || len(skipped) > before) && ctx.Err() == nil
		d.slots.endScan(begun, hasMore)
	}
	if len(skipped) > 0 { // locks are short, and nothing signals their release
		time.AfterFunc(skippedPause, d.slots.signal)
	}
	return nil
}

// next starts the oldest queued run of a conversation. Unless mayWait is set, it skips a locked
// conversation, so that the queue never waits for one.
func (d *Dispatcher) next(organization, session uuid.UUID, mayWait bool) (attempt, bool, error) {
	ctx := context.WithoutCancel(d.answering)
	// The second try sees a run that was queued while the first one waited for the lock.
	for range 2 {
		run, err := d.store.StartNextRun(ctx, db.StartNextRunParams{
			WaitForLock: mayWait, OrganizationID: organization, SessionID: session, LeaseSeconds: LeaseSeconds,
		})
		if apperr.Is(err, apperr.NotFound) {
			continue
		}
		if err != nil {
			return attempt{}, false, err
		}
		work, ok := d.newAttempt(ctx, db.Run(run))
		return work, ok, nil
	}
	return attempt{}, false, nil
}

// newAttempt reads the data for an attempt at a run of this instance. It returns false if the conversation was
// deleted, or the question cannot be read; the run is then released.
func (d *Dispatcher) newAttempt(ctx context.Context, run db.Run) (attempt, bool) {
	question, err := d.store.GetMessage(ctx, run.OrganizationID, run.QuestionID)
	if apperr.Is(err, apperr.NotFound) {
		return attempt{}, false
	}
	if err != nil {
		err = errors.Join(err, d.release(run.OrganizationID, run.ID, int(run.Attempt)))
		d.log.Error("read question", "run_id", run.ID, "err", err)
		return attempt{}, false
	}
	live := d.live.add(run.OrganizationID, run.ID, run.SessionID, run.ReplyID)
	live.Restart(int(run.Attempt))
	return attempt{
		organizationID: run.OrganizationID,
		sessionID:      run.SessionID,
		runID:          run.ID,
		number:         int(run.Attempt),
		isCancelled:    run.CancelRequested,
		reply:          live,
		question:       question.Message.Content,
		queryMetadata:  question.Message.QueryMetadata,
		askedAt:        question.Message.CreatedAt,
	}, true
}

// release expires the lease of a run that this instance does not work on, so that it is reclaimed
// at once. If that fails, it is reclaimed when its lease expires.
func (d *Dispatcher) release(organization, run uuid.UUID, number int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.answering), releaseTime)
	defer cancel()
	return d.store.ReleaseLease(ctx, organization, run, int32(number))
}

// releaseAll releases the runs that an earlier process left behind.
func (d *Dispatcher) releaseAll() {
	released, err := d.store.ReleaseAllLeases(d.starting)
	if err != nil && d.starting.Err() == nil {
		d.log.Error("release runs of an earlier process", "err", err)
	}
	if released > 0 {
		d.log.Info("released runs of an earlier process", "runs", released)
	}
}
