// Package chat is the core of the domain: conversations, their messages, and who may read and write
// them. It does not know HTTP.
//
// A message is acknowledged after its commit. Its place in the conversation (seq and time) is
// assigned by the transaction that stores it. Package run answers it.
package chat

import (
	"cmp"
	"context"
	"log/slog"
	"sync"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/feed"
	"parley/internal/run"
	"parley/internal/store"
	"parley/internal/trace"
)

// Chat serves conversations. It is safe for concurrent use.
type Chat struct {
	store  *store.Store
	bots   *bot.Bots
	feed   *feed.Feed
	runs   *run.Dispatcher
	log    *slog.Logger
	traces *trace.Tracer
	tally  tally

	maxContent  int
	searchIndex bool
	thresholds  searchThresholds

	// maintaining is done when the background maintenance must stop.
	maintaining context.Context
	stop        context.CancelFunc
	work        sync.WaitGroup
}

// Config is what a Chat needs.
type Config struct {
	Store *store.Store
	Bots  *bot.Bots
	Feed  *feed.Feed
	Runs  *run.Dispatcher
	Log   *slog.Logger
	// SearchIndex lets keyword searches use the index over message contents once it has been built.
	// Without it they walk through the conversations.
	SearchIndex bool
	// MaxContent bounds the characters of a message. 0 means MaxContent.
	MaxContent int
	Traces     *trace.Tracer // nil: no tracing
}

// MaxContent is the largest bound of the characters of a message, as the OpenAPI document states it.
const MaxContent = 100_000

// New returns a Chat. Start begins its maintenance, and Close ends it.
func New(config Config) *Chat {
	maintaining, stop := context.WithCancel(context.Background())
	return &Chat{
		store:       config.Store,
		bots:        config.Bots,
		feed:        config.Feed,
		runs:        config.Runs,
		log:         config.Log,
		traces:      config.Traces,
		maxContent:  cmp.Or(config.MaxContent, MaxContent),
		searchIndex: config.SearchIndex,
		thresholds:  defaultThresholds,
		maintaining: maintaining,
		stop:        stop,
	}
}

const (
	noConversation = "There is no such conversation."
	noMessage      = "There is no such message."
	noRun          = "There is no such run."
)

// session returns a conversation that the caller may read. It is NotFound if the organization has
// no such conversation and Forbidden if it belongs to another user.
func (c *Chat) session(ctx context.Context, caller auth.Principal, id string) (db.Session, error) {
	return readSession(ctx, c.store.Queries, caller, id)
}

func readSession(ctx context.Context, q *db.Queries, caller auth.Principal, id string) (db.Session, error) {
	sessionID, err := store.ParseID(id, noConversation)
	if err != nil {
		return db.Session{}, err
	}
	session, err := q.GetSession(ctx, caller.OrganizationID, sessionID)
	if err != nil {
		return db.Session{}, apperr.Rephrase(err, apperr.NotFound, noConversation)
	}
	return session, checkRead(caller, ownershipOf(session))
}
