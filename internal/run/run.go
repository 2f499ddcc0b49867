// Package run answers questions: it dispatches runs, has their bots answer, and finishes them.
//
// A run answers one message of a conversation. It belongs to the conversation, not to the request
// that asked: it continues when the caller leaves. A conversation has one running run at a time, in
// the order of its questions. Queued runs wait in the database, and any instance may start them.
//
// Delivery: a run's reply is stored at most once, because finishing is fenced by the run's attempt.
// It is written at least once, up to maxAttempts times: if an instance dies, another one starts the
// next attempt when the lease has expired.
package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/feed"
	"parley/internal/reply"
	"parley/internal/store"
	"parley/internal/trace"
)

const (
	// LeaseSeconds is how long an attempt keeps its run without a heartbeat.
	LeaseSeconds = 20
	// maxAttempts bounds the attempts at a run: a question that kills the process each time must not
	// do so forever.
	maxAttempts = 3
)

var (
	errStopping = errors.New("the server is stopping")
	errLost     = errors.New("another attempt has taken over")
	errGaveUp   = apperr.New(apperr.Internal, "The bot could not answer: it was interrupted too often.")
)

func stopping() *apperr.Error {
	return apperr.New(apperr.Unavailable, "The server is stopping. Another attempt will write the reply.")
}

// attempt is one attempt at a run by this instance. The run's row moves through these states; each
// transition names the function that makes it, and the statement in parentheses:
//
//	          Claim.Queue                        Claim.Start
//	(SendMessage: no slot, or not       (SendMessage: first in its
//	 the conversation's turn)            conversation, with a slot)
//	             │                                  │
//	             ▼      Dispatcher.next             ▼
//	         ┌────────┐ (StartNextRun)  ┌────────────────────────┐
//	         │ queued ├────────────────▶│ running, leased        │◀─┐ renewLeases
//	         └───┬────┘                 │ attempt n              ├──┘ (RenewLeases)
//	Cancel       │                      └─┬───────┬───────────▲──┘
//	(CancelRun)  │               finish   │       │ lease     │ reclaim (ReclaimRun):
//	             │           (FinishRun)  │       │ expired   │ attempt n+1, on any instance
//	             │                        │       ▼           │
//	             │                        │  ┌────────────────┴─┐
//	             │                        │  │ running, expired │
//	             │                        │  └──────────────────┘
//	             ▼                        ▼
//	        cancelled    completed │ failed │ cancelled
//
// A lease expires by itself when an instance dies, and at once when an instance releases the run
// (release, giveBack, and releaseAll at the start of a sole instance). Cancel only marks a running
// run; stopEnded or applyRun stops its attempt, which finishes as cancelled and keeps its text. The
// attempt after maxAttempts finishes as failed without asking the bot. A run is in doubt, which is
// no state of the row, if the connection was lost while the statement that starts it was committed:
// settleInDoubt releases it if it exists.
type attempt struct {
	organizationID uuid.UUID
	sessionID      uuid.UUID
	runID          uuid.UUID
	number         int
	isCancelled    bool // before the attempt began
	reply          *reply.Reply
	bot            *db.Bot // nil if it has yet to be read
	question       string
	queryMetadata  json.RawMessage
	isFirstMessage bool // known to be the conversation's first message, without attachments
	askedAt        time.Time
	parent         trace.Parent // of the request; unknown for what was queued
}

// Dispatcher starts runs and answers them. It is safe for concurrent use.
type Dispatcher struct {
	store  *store.Store
	bots   *bot.Bots
	feed   *feed.Feed
	log    *slog.Logger
	traces *trace.Tracer
	// isSole is set if no other instance works on the database.
	isSole bool

	live    liveReplies
	slots   *slots
	inDoubt inDoubtRuns
	tally   tally
	usage   statelessUsage
	lookup  *feed.Lookup

	// answering is done when replies must stop; work waits for the background loops.
	answering context.Context
	stop      context.CancelCauseFunc
	work      sync.WaitGroup
	// starting is done when no more runs may be started.
	starting  context.Context
	stopStart context.CancelFunc
}

// Config is what a Dispatcher needs.
type Config struct {
	Store *store.Store
	Bots  *bot.Bots
	Feed  *feed.Feed
	Log   *slog.Logger
	// MaxReplies bounds the replies that this instance writes at once, and
	// MaxRepliesPerOrganization those of one organization. Further runs are queued in the database.
	// 0 means no bound.
	MaxReplies                int
	MaxRepliesPerOrganization int
	// IsSole reports whether no other instance uses the database. Runs of an earlier process are then reclaimed
	// without waiting for their leases to expire.
	IsSole bool
	Traces *trace.Tracer // nil: no tracing
}

// New returns a Dispatcher. Call Start before runs are claimed, and Close at the end.
func New(config Config) *Dispatcher {
	answering, stop := context.WithCancelCause(context.Background())
	starting, stopStart := context.WithCancel(answering)
	d := &Dispatcher{
		store:     config.Store,
		bots:      config.Bots,
		feed:      config.Feed,
		log:       config.Log,
		traces:    config.Traces,
		isSole:    config.IsSole,
		live:      liveReplies{byRun: make(map[uuid.UUID]*liveReply)},
		slots:     newSlots(cmp.Or(config.MaxReplies, math.MaxInt32), cmp.Or(config.MaxRepliesPerOrganization, math.MaxInt32)),
		answering: answering,
		stop:      stop,
		starting:  starting,
		stopStart: stopStart,
	}
	d.listen()
	return d
}

// Start starts serving the queue, reclaiming abandoned runs, and renewing leases.
func (d *Dispatcher) Start() {
	if d.isSole {
		d.releaseAll() // before any run starts here
	}
	d.work.Go(d.serveQueue)
	d.work.Go(d.superviseLoop)
	d.work.Go(d.storeUsageLoop)
}

// Close waits until the replies in progress are finished or ctx is done. Unfinished replies are then released, for
// another instance or the next start, and so is the queue.
func (d *Dispatcher) Close(ctx context.Context) {
	d.stopStart()
	d.slots.close()
	done := make(chan struct{})
	go func() {
		d.slots.answering.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		d.stop(errStopping)
		<-done
	}
	d.stop(errStopping)
	d.work.Wait()
	d.storeUsage(context.WithoutCancel(ctx))
	d.live.close(stopping())
}
