package run

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/feed"
	"parley/internal/reply"
)

// listen registers the handlers of notifications from other instances.
func (d *Dispatcher) listen() {
	d.lookup = d.feed.NewLookup(d.lookUpRuns)
	d.feed.OnRead(d.endStored)
	d.feed.OnLoss(func(ctx context.Context) error {
		for _, live := range d.live.awaited() {
			d.feed.ReadText(live.Reply, 0)
		}
		return d.pollAwaited(ctx)
	})
	d.feed.Handle(feed.KindRun, func(n feed.Notification) {
		if found, _ := d.live.find(n.ID); found != nil || d.feed.IsWatched(n.Topic) {
			d.lookUp(n.Topic, n.ID)
		}
	})
	d.feed.Handle(feed.KindDeleted, func(n feed.Notification) {
		for _, run := range d.live.ofConversation(n.Topic) {
			d.lookUp(n.Topic, run)
		}
	})
	d.feed.Handle(feed.KindText, d.handleText)
}

// handleText schedules reading the text of a reply that grew on another instance. If this instance does not know the
// attempt that writes it, the notification of the attempt's start was lost, and the run is looked up.
func (d *Dispatcher) handleText(n feed.Notification) {
	switch found, attempt := d.live.find(n.ID); {
	case found != nil && attempt == 0:
		d.feed.ReadText(found.Reply, int(n.Number))
	case found == nil && d.feed.IsWatched(n.Topic), found != nil && attempt < int(n.Number):
		d.lookUp(n.Topic, n.ID)
	}
}

func (d *Dispatcher) lookUp(session, run uuid.UUID) {
	d.lookup.Add(feed.Notification{Kind: feed.KindRun, Topic: session, ID: run})
}

// notify notifies the other instances that the state of a run has changed.
func (d *Dispatcher) notify(session, run uuid.UUID) {
	d.feed.Notify(feed.Notification{Kind: feed.KindRun, Topic: session, ID: run})
}

// lookUpRuns reads the runs that other instances have changed, in one query.
func (d *Dispatcher) lookUpRuns(ctx context.Context, notifications []feed.Notification) error {
	var organizations, ids []uuid.UUID
	for _, n := range notifications {
		organization, isKnown := d.feed.Organization(n.Topic)
		if found, _ := d.live.find(n.ID); found != nil {
			organization, isKnown = found.organization, true
		}
		if isKnown {
			organizations, ids = append(organizations, organization), append(ids, n.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	runs, err := listRuns(ctx, d.store, organizations, ids)
	if err != nil {
		return err
	}
	for _, n := range notifications {
		if err := d.applyRun(ctx, n.ID, n.Topic, runs[n.ID]); err != nil {
			return err
		}
	}
	return nil
}

// applyRun applies the state of a run to this instance: it stops an attempt that was cancelled or replaced, ends a
// reply that has finished, or follows one that another instance writes. The zero run was not found. It is ignored if
// this instance writes the run, because the run may be newer than the query.
func (d *Dispatcher) applyRun(ctx context.Context, id, session uuid.UUID, run db.Run) error {
	found, attempt := d.live.find(id)
	switch {
	case attempt > 0 && int(run.Attempt) > attempt:
		d.live.stop(id, attempt, errLost)
	case attempt > 0 && run.CancelRequested:
		d.live.stop(id, attempt, reply.ErrCancelled)
	case attempt > 0: // this attempt continues
	case run.ID == uuid.Nil || run.FinishedAt != nil:
		if found != nil {
			return d.endAwaited(ctx, found, run, nil)
		}
	case run.State == "running":
		live := d.follow(run)
		if d.live.announce(run.ID, int(run.Attempt)) {
			d.feed.PublishLocal(session, &feed.ReplyStarted{Reply: live})
		}
	}
	return nil
}
