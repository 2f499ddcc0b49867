// Package chat is the domain: conversations, their messages, and the runs that
// answer them. It knows nothing of HTTP.
//
// A message is acknowledged only after its commit; its place in the conversation
// (seq, time) is given in the transaction that stores it. A reply belongs to the
// conversation, not to who asked for it: it is written whether or not anybody
// listens, one at a time in a conversation, in the order of the questions, and
// taken up again when the process that wrote it dies.
package chat

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/realtime"
	"parley/internal/shortcuts"
	"parley/internal/store"
	"parley/internal/trace"
)

// Chat serves conversations. It is safe for concurrent use.
type Chat struct {
	store *store.Store
	bots  *bot.Bots
	log   *slog.Logger
	live  liveReplies
	// link leads to the other instances; nil where none are known.
	link    *realtime.Redis
	hints   heardHints
	written ownTexts
	slots   *slots
	doubts  doubts
	tally   tally
	// isAlone says that no other process works on the database.
	isAlone   bool
	shortcuts shortcuts.Set
	traces    *trace.Tracer
	search    searchBounds
	// events tells who watches a conversation what was committed in it.
	events  realtime.Bus[*Event]
	watched watchedSessions

	visits visits

	// replying is done when the replies must stop. The slots count them, and work what
	// goes on beside.
	replying context.Context
	stop     context.CancelCauseFunc
	work     sync.WaitGroup
	// sweeping is done as soon as nothing more is to be taken up.
	sweeping  context.Context
	stopSweep context.CancelFunc
}

// Config is what a Chat works with.
type Config struct {
	Store *store.Store
	Bots  *bot.Bots
	Log   *slog.Logger
	// Link joins the instances that work on the database; nil where there is no Redis.
	Link *realtime.Redis
	// VisitTTL is how long an anonymous visit lives without activity.
	VisitTTL time.Duration
	// MaxReplies bounds the replies that are written at once by this process, and
	// MaxRepliesPerOrganization those of one organization; what is beyond waits for its
	// turn in the database. 0: any number.
	MaxReplies                int
	MaxRepliesPerOrganization int
	// WatchQueue is how many events wait for somebody who watches, before they are read
	// from the database. 0: 64.
	WatchQueue int
	// IsAlone says that no other process works on the database: runs that an earlier one
	// left behind are taken up without waiting for the end of their lease.
	IsAlone bool
	// Shortcuts says which shortcuts are taken.
	Shortcuts shortcuts.Set
	// Traces follows replies; nil: nobody does.
	Traces *trace.Tracer
}

const unlimited = math.MaxInt32

// New makes a Chat. Start must be called before anything is asked of it, and Close
// at the end.
func New(config Config) *Chat {
	replying, stop := context.WithCancelCause(context.Background())
	sweeping, stopSweep := context.WithCancel(replying)
	return &Chat{
		store:     config.Store,
		bots:      config.Bots,
		log:       config.Log,
		link:      config.Link,
		hints:     heardHints{wake: make(chan struct{}, 1), wakeTexts: make(chan struct{}, 1)},
		written:   ownTexts{wake: make(chan struct{}, 1)},
		isAlone:   config.IsAlone,
		shortcuts: config.Shortcuts,
		traces:    config.Traces,
		search:    usualSearch,
		live:      liveReplies{byRun: make(map[uuid.UUID]*liveReply)},
		events:    realtime.Bus[*Event]{QueueLimit: config.WatchQueue},
		slots:     newSlots(cmp.Or(config.MaxReplies, unlimited), cmp.Or(config.MaxRepliesPerOrganization, unlimited)),
		visits:    visits{ttl: config.VisitTTL, limit: maxVisits, store: visitsIn(config.Link, config.VisitTTL), slots: make(chan struct{}, cmp.Or(config.MaxReplies, unlimited))},
		replying:  replying,
		stop:      stop,
		sweeping:  sweeping,
		stopSweep: stopSweep,
	}
}

// Start begins to look after abandoned runs, those that an earlier process left
// behind among them.
func (c *Chat) Start() {
	if c.isAlone {
		c.releaseAll() // before anything is begun here
	}
	c.work.Go(c.sweep)
	c.work.Go(c.tidy)
	c.work.Go(c.serveQueue)
	c.work.Go(func() { c.attend(c.replying) })
	if c.link != nil {
		c.work.Go(func() { c.link.Subscribe(c.replying, c.hear, c.hints.miss) })
		c.work.Go(func() { c.readUp(c.replying) })
		c.work.Go(func() { c.readTexts(c.replying) })
		c.work.Go(func() { c.shareTexts(c.replying) })
	}
}

// Close waits for the replies that are being written, until ctx is done; those
// that are still not finished are given back, to be taken up by the next start or
// by another instance, as is what waits in the queue.
func (c *Chat) Close(ctx context.Context) {
	c.stopSweep()
	c.slots.close()
	done := make(chan struct{})
	go func() {
		c.slots.answering.Wait()
		c.visits.answering.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		c.stop(errStopping)
		<-done
	}
	c.stop(errStopping)
	c.work.Wait()
	c.live.close(stopping())
}

// session returns a conversation that the caller may read: NotFound where there is
// none in the organization, Forbidden where it is somebody else's.
func (c *Chat) session(ctx context.Context, who auth.Principal, id string) (db.Session, error) {
	return sessionIn(ctx, c.store.Queries, who, id)
}

func sessionIn(ctx context.Context, q *db.Queries, who auth.Principal, id string) (db.Session, error) {
	sessionID, err := parseID(id, noConversation)
	if err != nil {
		return db.Session{}, err
	}
	session, err := q.GetSession(ctx, who.OrganizationID, sessionID)
	if err != nil {
		return db.Session{}, apperr.Rephrase(err, apperr.NotFound, noConversation)
	}
	return session, mayRead(who, belongingOf(session))
}

const (
	noConversation = "There is no such conversation."
	noMessage      = "There is no such message."
	noRun          = "There is no such run."
	noWebChat      = "There is no such web chat."
)

// parseID reads an id in its plain form, 36 characters; whatever else it is, it is
// the id of nothing.
func parseID(text, sentence string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		return uuid.UUID{}, apperr.New(apperr.NotFound, sentence)
	}
	return id, nil
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }
