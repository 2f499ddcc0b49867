// Package feed delivers events to the watchers of a conversation or a visit.
//
// Events are published after the commit that they describe, on a bus in this process. Through Redis the instances
// notify each other of them (see Notification). Delivery is at most once: a watcher with a full queue misses events,
// and a notification may be lost. Neither loses a message, because the database is the source of truth: a watcher
// reads what it missed (Watch.Since), and Feed polls every two seconds for changes that no notification announced.
package feed

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/realtime"
	"parley/internal/store"
)

const (
	// QueryTimeout bounds one read of a background loop. If a connection hangs, the next round uses
	// another one.
	QueryTimeout = 5 * time.Second
	// PageBytes bounds the messages of a page as they are stored. A page ends with the message that
	// reaches it, because the free JSON of one message may have a MiB.
	PageBytes = 4 << 20
)

// Feed delivers events. It is safe for concurrent use once Start has been called; handlers,
// lookups, and hooks are registered before that.
type Feed struct {
	store *store.Store
	redis *realtime.Redis // nil without Redis
	log   *slog.Logger

	bus     realtime.Bus[Event]
	watched watchedConversations
	onRead  []func(context.Context, []db.Message) error

	handlers    map[string][]func(Notification)
	lookups     []*Lookup
	onLoss      []func(context.Context) error
	wake        chan struct{} // holds a value while a lookup has work to do
	isLossy     atomic.Bool   // notifications may have been lost since the last round
	isListening atomic.Bool

	local  localTexts
	remote remoteTexts

	running context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup
}

// Config is what a Feed needs.
type Config struct {
	Store *store.Store
	Log   *slog.Logger
	// Redis connects the instances that share the database; nil without Redis.
	Redis *realtime.Redis
	// WatchQueue is how many events are buffered for a watcher. 0 means 64.
	WatchQueue int
}

// New returns a Feed. Call Start once all its users are constructed, and Close at the end.
func New(config Config) *Feed {
	running, stop := context.WithCancel(context.Background())
	f := &Feed{
		store:    config.Store,
		redis:    config.Redis,
		log:      config.Log,
		bus:      realtime.Bus[Event]{QueueLimit: config.WatchQueue},
		handlers: make(map[string][]func(Notification)),
		wake:     make(chan struct{}, 1),
		local:    localTexts{wake: make(chan struct{}, 1), growing: make(map[*SharedText]struct{})},
		remote:   remoteTexts{wake: make(chan struct{}, 1)},
		running:  running,
		stop:     stop,
	}
	// Messages come first among the lookups: see NewLookup.
	messages := f.NewLookup(f.readNotifiedMessages)
	feedback := f.NewLookup(f.readNotifiedFeedback)
	deleted := f.NewLookup(func(ctx context.Context, _ []Notification) error { return f.poll(ctx) })
	f.Handle(KindMessage, func(n Notification) {
		if lastSeq, isWatched := f.watched.lastSeq(n.Topic); isWatched && n.Number > lastSeq {
			messages.Add(n)
		}
	})
	f.Handle(KindFeedback, f.ifWatched(feedback))
	f.Handle(KindDeleted, f.ifWatched(deleted))
	f.OnLoss(f.poll)
	f.OnLoss(func(context.Context) error {
		f.local.shareAll()
		return nil
	})
	return f
}

// Start starts polling and exchanging notifications.
func (f *Feed) Start() {
	f.work.Go(f.pollLoop)
	if f.redis == nil {
		return
	}
	f.work.Go(func() { f.redis.Subscribe(f.running, f.dispatch, f.noteLoss) })
	f.work.Go(f.lookUpLoop)
	f.work.Go(f.shareTexts)
	f.work.Go(f.readTexts)
}

// Close ends what Start began.
func (f *Feed) Close() {
	f.stop()
	f.work.Wait()
}

// Publish delivers an event to the watchers of a topic and notifies the other instances. Call it
// after the commit. It never blocks.
func (f *Feed) Publish(topic uuid.UUID, event Event) {
	f.PublishLocal(topic, event)
	if n, ok := event.notification(topic); ok {
		f.Notify(n)
	}
}

// PublishLocal is Publish for this instance alone.
func (f *Feed) PublishLocal(topic uuid.UUID, event Event) {
	if stored, ok := event.(*MessageStored); ok {
		f.watched.advance(topic, stored.Message.Seq)
	}
	f.bus.Publish(topic, event)
}

// Subscribe returns the events of a topic from now on.
func (f *Feed) Subscribe(topic uuid.UUID) *realtime.Subscription[Event] {
	return f.bus.Subscribe(topic)
}

// OnRead registers a hook that runs with messages read for a watcher, before the watcher gets them.
func (f *Feed) OnRead(hook func(ctx context.Context, messages []db.Message) error) {
	f.onRead = append(f.onRead, hook)
}

// signal puts a value into a channel that holds one.
func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
