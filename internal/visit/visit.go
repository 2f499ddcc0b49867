// Package visit serves anonymous visits: conversations of visitors without an API key, with the default bot of the
// first organization.
//
// Visits are not stored in the database. Their messages are kept in memory, or in Redis for all instances, bounded in
// number, until the visit has been inactive for the TTL. Events and frames are those of conversations.
package visit

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/feed"
	"parley/internal/realtime"
	"parley/internal/reply"
	"parley/internal/store"
)

const (
	// sweepInterval is how often idle visits are ended.
	sweepInterval = 2 * time.Second
	// expiryWarning is how long before the end of a visit its watchers are warned, at most half of its TTL.
	expiryWarning = time.Minute
)

const noVisit = "There is no such visit; it may have ended."

var errStopping = errors.New("the server is stopping")

// Visits serves anonymous visits. It is safe for concurrent use.
type Visits struct {
	store  *store.Store
	bots   *bot.Bots
	feed   *feed.Feed
	log    *slog.Logger
	ttl    time.Duration
	limits Limits
	// maxLength bounds the characters of a message.
	maxLength int
	states    stateStore
	lookup    *feed.Lookup
	// slots bounds the concurrent replies; answering waits for them.
	slots     chan struct{}
	answering sync.WaitGroup

	mu   sync.Mutex
	byID map[uuid.UUID]*servedVisit

	// running is done when replies must stop, sweeping when the sweeper must.
	running   context.Context
	stop      context.CancelCauseFunc
	sweeping  context.Context
	stopSweep context.CancelFunc
	work      sync.WaitGroup
}

// servedVisit is a visit that this instance serves.
type servedVisit struct {
	id  uuid.UUID
	bot db.Bot // as it was when this instance began to serve the visit

	watchers int // guarded by Visits.mu

	mu          sync.Mutex // orders the turns that are added here, and their events
	lastSeq     int64      // up to which events were published here
	waiting     []turn     // unanswered questions sent here; the first is being answered
	isAnswering bool

	remote atomic.Pointer[reply.Reply] // the latest reply of another instance
	warned time.Time                   // the expiry that watchers were warned of; used by the sweeper only
}

// Config is what Visits needs.
type Config struct {
	Store *store.Store
	Bots  *bot.Bots
	Feed  *feed.Feed
	Log   *slog.Logger
	Redis *realtime.Redis // nil without Redis
	TTL   time.Duration   // how long a visit lives without activity
	// MaxReplies bounds the concurrent replies. 0 means no bound.
	MaxReplies int
	MaxContent int // bounds the characters of a message; 0: 4,000
	Limits     Limits
}

// Limits bound the visits of an instance. 0 means no bound. Beyond a bound, the visits that have been idle longest
// end.
type Limits struct {
	Visits     int
	VisitBytes int // of one visit, which then loses its oldest messages
	Bytes      int // of all visits
}

// DefaultMaxContent is the default maximum length of a visitor's message in characters.
const DefaultMaxContent = 4_000

// New returns Visits. Call Start before it is used, and Close at the end.
func New(config Config) *Visits {
	running, stop := context.WithCancelCause(context.Background())
	sweeping, stopSweep := context.WithCancel(running)
	v := &Visits{
		store:     config.Store,
		bots:      config.Bots,
		feed:      config.Feed,
		log:       config.Log,
		ttl:       config.TTL,
		limits:    config.Limits,
		maxLength: cmp.Or(config.MaxContent, DefaultMaxContent),
		states:    newStateStore(config.Redis, config.Feed, config.TTL),
		slots:     make(chan struct{}, cmp.Or(config.MaxReplies, math.MaxInt32)),
		byID:      make(map[uuid.UUID]*servedVisit),
		running:   running,
		stop:      stop,
		sweeping:  sweeping,
		stopSweep: stopSweep,
	}
	v.listen()
	return v
}

// Start starts ending idle visits in the background.
func (v *Visits) Start() { v.work.Go(v.sweep) }

// Close waits until the replies that are being written are finished or ctx is done.
func (v *Visits) Close(ctx context.Context) {
	v.stopSweep()
	done := make(chan struct{})
	go func() {
		v.answering.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		v.stop(errStopping)
		<-done
	}
	v.stop(errStopping)
	v.work.Wait()
}

// Count returns how many visits this instance serves.
func (v *Visits) Count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.byID)
}

// Watch begins a visit to the default bot of the first organization and watches it, or watches the
// visit id on any instance, which counts as activity. It returns NotFound if that visit has ended
// or never existed.
func (v *Visits) Watch(ctx context.Context, id, botRef *string) (*feed.Watch, error) {
	if id != nil {
		visitID, err := store.ParseID(*id, noVisit)
		if err != nil {
			return nil, err
		}
		return v.watch(ctx, visitID)
	}
	owner, err := v.defaultBot(ctx)
	if err != nil {
		return nil, err
	}
	if botRef != nil && *botRef != owner.Slug && *botRef != owner.ID.String() {
		return nil, apperr.New(apperr.Forbidden, "Without an API key, only the default chatbot is available.")
	}
	created := state{ID: store.NewID(), OrganizationID: owner.OrganizationID, BotID: owner.ID}
	served := v.serve(ctx, created, owner)
	defer v.unwatch(served)
	if err := v.states.create(ctx, created); err != nil {
		v.remove(created.ID)
		return nil, err
	}
	return v.watch(ctx, created.ID)
}

// defaultBot returns the default bot of the organization that was created first.
func (v *Visits) defaultBot(ctx context.Context) (db.Bot, error) {
	first, err := v.store.GetFirstOrganization(ctx)
	if err != nil {
		return db.Bot{}, apperr.Rephrase(err, apperr.NotFound, "The server has no chatbot for anonymous visitors yet.")
	}
	return v.bots.Default(ctx, first.ID)
}

func (v *Visits) watch(ctx context.Context, id uuid.UUID) (*feed.Watch, error) {
	// Subscribe first: a turn added in between is then delivered twice, rather than missed.
	subscription := v.feed.Subscribe(id)
	seen, served, err := v.resume(ctx, id)
	if err != nil {
		subscription.Close()
		return nil, err
	}
	end, _ := v.states.expiry(ctx, id) // it was active just now
	since := func(ctx context.Context, after int64) ([]db.Message, error) {
		served.mu.Lock()
		defer served.mu.Unlock()
		return v.readAfter(ctx, served, after)
	}
	watch := feed.NewWatch(subscription, since, sync.OnceFunc(func() { v.unwatch(served) }))
	watch.Bot, watch.LastSeq, watch.IsAnonymous, watch.ExpiresAt = served.bot, seen.LastSeq, true, &end
	return watch, nil
}

// resume returns a visit, which is watched until unwatch.
func (v *Visits) resume(ctx context.Context, id uuid.UUID) (state, *servedVisit, error) {
	seen, err := v.states.read(ctx, id, true)
	if err != nil {
		return state{}, nil, err
	}
	if served := v.findWatched(id); served != nil {
		return seen, served, nil
	}
	owner, err := v.bots.GetByID(ctx, seen.OrganizationID, seen.BotID)
	if err != nil {
		return state{}, nil, apperr.Rephrase(err, apperr.NotFound, noVisit)
	}
	return seen, v.serve(ctx, seen, owner), nil
}

// serve adds a watcher to a visit, until unwatch. If this instance does not serve the visit yet, it
// starts to.
func (v *Visits) serve(ctx context.Context, seen state, owner db.Bot) *servedVisit {
	v.enforceVisits(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	if found := v.byID[seen.ID]; found != nil {
		found.watchers++
		return found
	}
	served := &servedVisit{id: seen.ID, bot: owner, lastSeq: seen.LastSeq, watchers: 1}
	v.byID[seen.ID] = served
	return served
}

// findWatched is find for a watcher, until unwatch.
func (v *Visits) findWatched(id uuid.UUID) *servedVisit {
	v.mu.Lock()
	defer v.mu.Unlock()
	found := v.byID[id]
	if found != nil {
		found.watchers++
	}
	return found
}

func (v *Visits) unwatch(served *servedVisit) {
	v.mu.Lock()
	defer v.mu.Unlock()
	served.watchers--
}

// find returns a visit that this instance serves, or nil.
func (v *Visits) find(id uuid.UUID) *servedVisit {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.byID[id]
}

func (v *Visits) remove(id uuid.UUID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.byID, id)
}

func (v *Visits) all() []*servedVisit {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Collect(maps.Values(v.byID))
}

// sweep ends idle visits.
func (v *Visits) sweep() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		v.endIdle(v.sweeping)
		select {
		case <-v.sweeping.Done():
			return
		case <-ticker.C:
		}
	}
}

// endIdle ends the visits whose TTL has passed and warns the watchers of those that end soon.
func (v *Visits) endIdle(ctx context.Context) {
	for _, served := range v.all() {
		end, isOver := v.states.expiry(ctx, served.id)
		switch {
		case isOver:
			v.remove(served.id)
			v.feed.PublishLocal(served.id, &feed.VisitExpired{})
		case time.Until(end) <= warningTime(v.ttl) && end.Sub(served.warned) > time.Second/2:
			served.warned = end
			v.feed.PublishLocal(served.id, &feed.VisitExpiring{At: end})
		}
	}
}

func warningTime(ttl time.Duration) time.Duration { return min(expiryWarning, ttl/2) }
