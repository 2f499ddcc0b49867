package run

import (
	"context"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/reply"
	"parley/internal/store"
)

const (
	// superviseInterval is the time within which an attempt stops after it was cancelled through another instance and
	// the notification was lost.
	superviseInterval = 500 * time.Millisecond
	// heartbeatInterval leaves room for a heartbeat that fails before the lease expires.
	heartbeatInterval = 5 * time.Second
	// pollInterval is how often the outcomes of awaited replies are read.
	pollInterval = 2 * time.Second
)

// superviseLoop synchronizes the live replies with the database: it renews the leases of this instance's attempts,
// stops those that were cancelled or lost, ends awaited replies, and settles runs in doubt.
func (d *Dispatcher) superviseLoop() {
	ticker := time.NewTicker(superviseInterval)
	defer ticker.Stop()
	var renewed, polled time.Time
	reached := time.Now() // when the database last answered
	for {
		select {
		case <-d.answering.Done():
			return
		case <-ticker.C:
		}
		// A connection that hangs must not keep the leases from being renewed.
		round, cancel := context.WithTimeout(d.answering, heartbeatInterval)
		if time.Since(renewed) >= heartbeatInterval {
			renewed = time.Now()
			d.renewLeases(round)
		}
		d.stopEnded(round)
		if d.starting.Err() != nil {
			d.live.failAwaited(stopping()) // no queued run is started anymore
		}
		if time.Since(polled) >= pollInterval {
			polled = time.Now()
			switch err := d.pollAwaited(round); {
			case err == nil:
				reached = polled
			case time.Since(reached) > outageTime:
				d.live.failAwaited(apperr.New(apperr.Unavailable, "The database cannot be reached. The reply may still be written."))
			}
		}
		d.settleInDoubt(round)
		cancel()
	}
}

// renewLeases is the heartbeat of the attempts of this instance. The next one comes before the
// leases expire, so one may fail.
func (d *Dispatcher) renewLeases(ctx context.Context) {
	own := d.live.attempts()
	if len(own.runs) == 0 {
		return
	}
	err := d.store.RenewLeases(ctx, db.RenewLeasesParams{
		OrganizationIds: own.organizations, Ids: own.runs, Attempts: own.numbers, LeaseSeconds: LeaseSeconds,
	})
	if err != nil {
		d.tally.failedHeartbeats.Add(1)
	}
	if err != nil && ctx.Err() == nil {
		d.log.Error("renew leases", "runs", len(own.runs), "err", err)
	}
}

// stopEnded stops the attempts of this instance that were cancelled or replaced.
func (d *Dispatcher) stopEnded(ctx context.Context) {
	own := d.live.attempts()
	if len(own.runs) == 0 {
		return
	}
	ended, err := d.store.ListCancelledOrLostAttempts(ctx, own.organizations, own.runs, own.numbers)
	if err != nil {
		return // correctness depends on the lease and on the fence of FinishRun
	}
	for _, attempt := range ended {
		cause := reply.ErrCancelled
		if attempt.IsLost {
			cause = errLost
		}
		d.live.stop(attempt.ID, int(attempt.Attempt), cause)
	}
}

// pollAwaited ends the awaited replies whose run has finished, was cancelled in the queue, or was
// deleted with its conversation.
func (d *Dispatcher) pollAwaited(ctx context.Context) error {
	return d.endFinished(ctx, d.live.awaited(), nil)
}

// endStored ends awaited replies whose message was just read for a watcher.
func (d *Dispatcher) endStored(ctx context.Context, messages []db.Message) error {
	var awaited []*liveReply
	stored := make(map[uuid.UUID]*db.Message)
	for i, message := range messages {
		if message.RunID == nil || message.Sender != "bot" {
			continue
		}
		if live, attempt := d.live.find(*message.RunID); live != nil && attempt == 0 {
			awaited = append(awaited, live)
			stored[live.RunID] = &messages[i]
		}
	}
	return d.endFinished(ctx, awaited, stored)
}

// endFinished ends those of the awaited replies whose run has finished. stored holds messages that
// were read already, by run.
func (d *Dispatcher) endFinished(ctx context.Context, awaited []*liveReply, stored map[uuid.UUID]*db.Message) error {
	if len(awaited) == 0 {
		return nil
	}
	organizations, ids := make([]uuid.UUID, len(awaited)), make([]uuid.UUID, len(awaited))
	for i, live := range awaited {
		organizations[i], ids[i] = live.organization, live.RunID
	}
	runs, err := listRuns(ctx, d.store, organizations, ids)
	if err != nil {
		return err
	}
	for _, live := range awaited {
		run, exists := runs[live.RunID]
		if exists && run.FinishedAt == nil {
			continue
		}
		if err := d.endAwaited(ctx, live, run, stored[live.RunID]); err != nil {
			return err
		}
	}
	return nil
}

func listRuns(ctx context.Context, s *store.Store, organizations, ids []uuid.UUID) (map[uuid.UUID]db.Run, error) {
	found, err := s.ListRuns(ctx, organizations, ids)
	if err != nil {
		return nil, err
	}
	runs := make(map[uuid.UUID]db.Run, len(found))
	for _, run := range found {
		runs[run.ID] = run
	}
	return runs, nil
}

// endAwaited ends an awaited reply according to its run; the zero run was deleted. stored is the reply's message if
// it was read already.
func (d *Dispatcher) endAwaited(ctx context.Context, live *liveReply, run db.Run, stored *db.Message) (err error) {
	if run.ID == uuid.Nil {
		live.Fail(apperr.New(apperr.NotFound, "The conversation was deleted."))
		d.live.remove(live.RunID)
		return nil
	}
	var outcome *reply.Outcome
	if stored != nil {
		outcome, err = outcomeOf(run, stored)
	} else {
		outcome, err = d.readOutcome(ctx, run)
	}
	switch {
	case apperr.Is(err, apperr.Unavailable), err != nil && ctx.Err() != nil: // the next poll ends it
		return err
	case err != nil:
		d.log.Error("read outcome of run", "run_id", run.ID, "err", err)
		live.Fail(reply.PublicError(err))
	default:
		live.Finish(int(run.Attempt), outcome)
	}
	d.live.remove(live.RunID)
	return nil
}
