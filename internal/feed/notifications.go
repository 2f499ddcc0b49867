package feed

import (
	"context"
	"errors"
	"sync"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/realtime"
)

// Notification is what instances send each other: a kind, the conversation or visit as the topic,
// and an ID and a number whose meaning depends on the kind.
//
// INVARIANT: a notification says where to look, never what is there. Its receiver reads the
// database, so a lost, repeated, or late notification costs time and nothing else.
type Notification = realtime.Notification

// The kinds of notifications.
const (
	KindMessage  = "message" // messages up to the seq Number exist
	KindRun      = "run"     // the run ID was started, cancelled, or finished
	KindText     = "text"    // the text of the run ID has grown; Number is the attempt
	KindFeedback = "rated"   // the feedback of the message ID has changed
	KindDeleted  = "deleted" // the conversation was deleted
	KindVisit    = "visit"   // the reply of a visit, with the run ID, has reached the state Number
)

// Handle registers a handler for a kind of notification. Several may be registered for a kind. A
// handler runs on the receiving goroutine and must not block: it decides whether this instance is
// concerned, and leaves reading the database to a Lookup.
func (f *Feed) Handle(kind string, handler func(Notification)) {
	f.handlers[kind] = append(f.handlers[kind], handler)
}

// OnLoss registers a hook that runs when notifications may have been lost, and at the start. It
// runs on the goroutine of the lookups, before them.
func (f *Feed) OnLoss(hook func(context.Context) error) { f.onLoss = append(f.onLoss, hook) }

// Notify sends a notification to the other instances. It never blocks.
func (f *Feed) Notify(n Notification) { f.redis.Publish(n) }

// NotifyDeleted notifies the other instances that a conversation was deleted.
func (f *Feed) NotifyDeleted(conversation uuid.UUID) {
	f.Notify(Notification{Kind: KindDeleted, Topic: conversation})
}

// IsListening reports whether notifications of other instances have been received at some time.
func (f *Feed) IsListening() bool { return f.isListening.Load() }

// IsWatched reports whether a conversation is watched on this instance.
func (f *Feed) IsWatched(conversation uuid.UUID) bool {
	_, isWatched := f.watched.lastSeq(conversation)
	return isWatched
}

func (f *Feed) ifWatched(lookup *Lookup) func(Notification) {
	return func(n Notification) {
		if f.IsWatched(n.Topic) {
			lookup.Add(n)
		}
	}
}

// dispatch passes notifications to their handlers.
func (f *Feed) dispatch(notifications []Notification) {
	for _, n := range notifications {
		for _, handle := range f.handlers[n.Kind] {
			handle(n)
		}
	}
}

func (f *Feed) noteLoss() {
	f.isListening.Store(true)
	f.isLossy.Store(true)
	signal(f.wake)
}

// Lookup reads the database after notifications. Notifications that arrive meanwhile are collected for the next
// round. Notifications that differ only in their numbers are merged into one with the largest number, so the set is
// bounded by what this instance watches and not by the number of notifications.
type Lookup struct {
	feed *Feed
	read func(context.Context, []Notification) error

	mu      sync.Mutex
	pending map[Notification]int64 // the number, by the notification without it
}

// NewLookup registers a lookup. In each round the lookups run one after the other, in the order in
// which they were registered.
//
// INVARIANT: messages are read before runs. A run that is still running when it is read has no
// message among those read before, so watchers learn of its start before they get its message.
func (f *Feed) NewLookup(read func(context.Context, []Notification) error) *Lookup {
	lookup := &Lookup{feed: f, read: read, pending: make(map[Notification]int64)}
	f.lookups = append(f.lookups, lookup)
	return lookup
}

// Add schedules a lookup. It does nothing without Redis, when there are no other instances.
func (l *Lookup) Add(n Notification) {
	if l.feed.redis == nil {
		return
	}
	key := n
	key.Number = 0
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending[key] = max(l.pending[key], n.Number)
	signal(l.feed.wake)
}

func (l *Lookup) take() []Notification {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := make([]Notification, 0, len(l.pending))
	for n, number := range l.pending {
		n.Number = number
		taken = append(taken, n)
	}
	clear(l.pending)
	return taken
}

func (f *Feed) lookUpLoop() {
	for {
		select {
		case <-f.running.Done():
			return
		case <-f.wake:
		}
		// Polling finds the changes that a failed round has missed, except for feedback.
		if err := f.lookUp(f.running); err != nil && f.running.Err() == nil {
			f.log.Error("look up notifications", "err", err)
		}
	}
}

func (f *Feed) lookUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, QueryTimeout)
	defer cancel()
	var errs []error
	if f.isLossy.Swap(false) {
		for _, hook := range f.onLoss {
			errs = append(errs, hook(ctx))
		}
	}
	for _, lookup := range f.lookups {
		if notifications := lookup.take(); len(notifications) > 0 {
			errs = append(errs, lookup.read(ctx, notifications))
		}
	}
	return errors.Join(errs...)
}

// readNotifiedMessages delivers messages that other instances stored.
func (f *Feed) readNotifiedMessages(ctx context.Context, notifications []Notification) error {
	for _, n := range notifications {
		lastSeq, isWatched := f.watched.lastSeq(n.Topic)
		if !isWatched {
			continue
		}
		organization, _ := f.Organization(n.Topic)
		found, hasMore, err := f.read(ctx, organization, n.Topic, lastSeq)
		if err != nil {
			return err
		}
		for i := range found {
			f.PublishLocal(n.Topic, &MessageStored{&found[i]})
		}
		if hasMore {
			f.PublishLocal(n.Topic, &Behind{})
		}
	}
	return nil
}

// readNotifiedFeedback delivers feedback that was given on other instances.
func (f *Feed) readNotifiedFeedback(ctx context.Context, notifications []Notification) error {
	for _, n := range notifications {
		organization, isWatched := f.Organization(n.Topic)
		if !isWatched {
			continue
		}
		found, err := f.store.GetMessage(ctx, organization, n.ID)
		if apperr.Is(err, apperr.NotFound) {
			continue // deleted since
		}
		if err != nil {
			return err
		}
		f.PublishLocal(n.Topic, &FeedbackChanged{&found.Message})
	}
	return nil
}
