// Package chattest runs the domain for tests: its packages put together as cmd/server does, on a
// database of the test's own.
//
// A Fixture is one organization on one instance. A Cluster is one organization on any number of
// instances, which a RedisCluster connects through Redis.
package chattest

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/chat"
	"parley/internal/feed"
	"parley/internal/inbox"
	"parley/internal/realtime"
	"parley/internal/reply"
	"parley/internal/run"
	"parley/internal/store"
	"parley/internal/visit"
)

// Config is what a Domain needs; zero fields have defaults.
type Config struct {
	Store                     *store.Store
	Bots                      *bot.Bots
	Log                       *slog.Logger
	Redis                     *realtime.Redis
	VisitTTL                  time.Duration
	MaxReplies                int
	MaxRepliesPerOrganization int
	WithoutSearchIndex        bool
	MaxContent                int // 0: the default value
}

// Domain is an instance of the service without its network interfaces.
type Domain struct {
	*chat.Chat
	Feed    *feed.Feed
	Runs    *run.Dispatcher
	Visits  *visit.Visits
	Inboxes *inbox.Inboxes
}

// NewDomain returns an instance. A test that needs background work calls Start.
func NewDomain(config Config) *Domain {
	log := config.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Domain{Feed: feed.New(feed.Config{Store: config.Store, Log: log, Redis: config.Redis})}
	d.Runs = run.New(run.Config{
		Store: config.Store, Bots: config.Bots, Feed: d.Feed, Log: log,
		MaxReplies: config.MaxReplies, MaxRepliesPerOrganization: config.MaxRepliesPerOrganization,
	})
	d.Visits = visit.New(visit.Config{
		Store: config.Store, Bots: config.Bots, Feed: d.Feed, Log: log, Redis: config.Redis,
		TTL: cmp.Or(config.VisitTTL, time.Minute), MaxReplies: config.MaxReplies,
	})
	d.Chat = chat.New(chat.Config{
		Store: config.Store, Bots: config.Bots, Feed: d.Feed, Runs: d.Runs, Log: log, SearchIndex: !config.WithoutSearchIndex, MaxContent: config.MaxContent,
	})
	d.Inboxes = inbox.New(config.Store, config.Bots)
	return d
}

// Start starts the background work.
func (d *Domain) Start() {
	d.Feed.Start()
	d.Runs.Start()
	d.Visits.Start()
	d.Chat.Start()
}

// Close stops the instance. Replies have until ctx is done. Close may be called more than once.
func (d *Domain) Close(ctx context.Context) {
	d.Runs.Close(ctx)
	d.Visits.Close(ctx)
	d.Chat.Close()
	d.Feed.Close()
}

// Eventually waits until a condition holds.
func Eventually(t *testing.T, condition string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("timed out waiting until %s", condition)
		case <-poll.C:
		}
	}
}

// AwaitEvent returns the next event of a type that matches.
func AwaitEvent[E feed.Event](t *testing.T, watch *feed.Watch, matches func(E) bool) E {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for {
		select {
		case event := <-watch.Events:
			if typed, ok := event.(E); ok && matches(typed) {
				return typed
			}
		case <-deadline.C:
			t.Fatal("timed out waiting for an event")
		}
	}
}

// Any matches every event of its type.
func Any[E feed.Event](E) bool { return true }

// AwaitOutcome follows a reply to its end.
func AwaitOutcome(t *testing.T, r *reply.Reply) *reply.Outcome {
	t.Helper()
	for at := r.Start(); ; {
		chunk, err := r.Follow(t.Context(), at, 30*time.Second)
		if err != nil || chunk.IsEmpty() {
			t.Fatalf("timed out waiting for the end of a reply: %v", err)
		}
		if chunk.Outcome != nil {
			return chunk.Outcome
		}
		at = chunk.After
	}
}

// WantKind fails the test unless err is of a kind.
func WantKind(t *testing.T, err error, want apperr.Kind) {
	t.Helper()
	if !apperr.Is(err, want) {
		t.Errorf("got error %v, want %s", err, want)
	}
}

// WantSameError fails the test unless all errors are of a kind and a caller cannot distinguish
// them.
func WantSameError(t *testing.T, want apperr.Kind, errs ...error) {
	t.Helper()
	var first *apperr.Error
	for _, err := range errs {
		appErr, ok := errors.AsType[*apperr.Error](err)
		if !ok || appErr.Kind != want {
			t.Errorf("got error %v, want %s", err, want)
			continue
		}
		if first == nil {
			first = appErr
		}
		if appErr.Message != first.Message || !slices.Equal(appErr.Violations, first.Violations) || appErr.RetryAfter != first.RetryAfter {
			t.Errorf("errors can be distinguished: %q and %q", first.Message, appErr.Message)
		}
	}
}
