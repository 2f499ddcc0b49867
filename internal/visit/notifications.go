package visit

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/feed"
	"parley/internal/reply"
)

// The states of a reply, as the number of a feed.KindVisit notification. A reply that ends with a
// text is announced by its message instead.
const (
	replyStarted = 1
	replyEmpty   = 2 // it has ended without a text
)

// listen registers the handlers of notifications from other instances.
func (v *Visits) listen() {
	v.lookup = v.feed.NewLookup(v.lookUpVisits)
	ifServed := func(n feed.Notification) {
		if v.find(n.Topic) != nil {
			v.lookup.Add(n)
		}
	}
	v.feed.Handle(feed.KindMessage, ifServed)
	v.feed.Handle(feed.KindVisit, ifServed)
	v.feed.Handle(feed.KindText, func(n feed.Notification) {
		if served := v.find(n.Topic); served != nil {
			if remote := served.remote.Load(); remote != nil && remote.RunID == n.ID {
				v.feed.ReadText(remote, int(n.Number))
			}
		}
	})
	v.feed.OnLoss(func(ctx context.Context) error {
		if shared, ok := v.states.(*redisStates); ok {
			shared.restore(ctx)
		}
		for _, served := range v.all() {
			v.lookUp(served.id)
		}
		return nil
	})
}

// lookUp schedules the reading of the turns that other instances have added.
func (v *Visits) lookUp(visit uuid.UUID) {
	v.lookup.Add(feed.Notification{Kind: feed.KindMessage, Topic: visit})
}

func (v *Visits) notify(visit, run uuid.UUID, state int64) {
	v.feed.Notify(feed.Notification{Kind: feed.KindVisit, Topic: visit, ID: run, Number: state})
}

// lookUpVisits reads the turns that other instances have added, once per visit.
func (v *Visits) lookUpVisits(ctx context.Context, notifications []feed.Notification) error {
	replies := make(map[uuid.UUID]map[uuid.UUID]int64) // the state by run, by visit
	for _, n := range notifications {
		if replies[n.Topic] == nil {
			replies[n.Topic] = make(map[uuid.UUID]int64)
		}
		if n.Kind == feed.KindVisit {
			replies[n.Topic][n.ID] = n.Number
		}
	}
	for id, states := range replies {
		if err := v.publishRemote(ctx, id, states); err != nil {
			return err
		}
	}
	return nil
}

// publishRemote publishes the turns and the replies of other instances to the watchers of a visit
// here.
func (v *Visits) publishRemote(ctx context.Context, id uuid.UUID, replies map[uuid.UUID]int64) error {
	served := v.find(id)
	if served == nil {
		return nil
	}
	served.mu.Lock()
	defer served.mu.Unlock()
	found, err := v.readAfter(ctx, served, served.lastSeq)
	if err != nil {
		return err
	}
	for i := range found {
		served.lastSeq = found[i].Seq
		v.feed.PublishLocal(id, &feed.MessageStored{Message: &found[i]})
	}
	for run, state := range replies {
		remote := served.remote.Load()
		isKnown := remote != nil && remote.RunID == run
		isStored := slices.ContainsFunc(found, func(message db.Message) bool { return message.RunID != nil && *message.RunID == run })
		switch {
		case isKnown && state == replyEmpty:
			remote.Finish(1, &reply.Outcome{State: "failed", FinishReason: "error"})
		case !isKnown && !isStored && state == replyStarted:
			remote = reply.New(run, id, uuid.Nil)
			served.remote.Store(remote)
			v.feed.PublishLocal(id, &feed.ReplyStarted{Reply: remote})
			v.feed.ReadText(remote, 1)
		}
	}
	return nil
}
