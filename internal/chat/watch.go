package chat

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/realtime"
	"parley/internal/store"
)

// Event is something that has happened in a conversation or a visit: a message was
// committed, or liked, the bot has begun to write, or the visit has ended. The empty
// Event says that there is something to be read up.
type Event struct {
	Message   *db.Message // without the speaker's name
	Rated     *db.Message // a message whose feedback has changed
	Reply     *Reply      // the reply that has begun
	ExpiresAt *time.Time  // when the visit will end, if nothing is said
	IsExpired bool
	EndedKey  uuid.UUID // a key that has ended, for those who watch by it
	IsGone    bool      // the conversation was deleted

	once    sync.Once
	encoded [][]byte
}

// Encoded returns the frames that encode makes of the event; they are made once, however
// many watch.
func (e *Event) Encoded(encode func(*Event) [][]byte) [][]byte {
	e.once.Do(func() { e.encoded = encode(e) })
	return e.encoded
}

// Watch is a view of one conversation, or of one visit, as it goes on, and the way
// to speak in it. It belongs to one goroutine; Send may be called by another.
//
// Events may be missed; then Missed tells so, and Since has what was committed.
// After subscribing, Since gives what there was before.
type Watch struct {
	*realtime.Subscription[*Event]
	SessionID   uuid.UUID
	Bot         db.Bot
	LastSeq     int64 // at the time of watching
	IsAnonymous bool
	ExpiresAt   *time.Time // of the visit, or of the caller's key or token; nil: never

	since func(ctx context.Context, after int64) ([]db.Message, error)
	send  func(ctx context.Context, message NewMessage) (Sent, error)
	leave func()
}

// Close ends the watch.
func (w *Watch) Close() {
	w.Subscription.Close()
	w.leave()
}

// Since returns the oldest messages after a seq, oldest first, at most 200, and fewer where
// they are long; none where there are none.
func (w *Watch) Since(ctx context.Context, after int64) ([]db.Message, error) {
	return w.since(ctx, after)
}

// Send sends a message of the watcher's.
func (w *Watch) Send(ctx context.Context, message NewMessage) (Sent, error) {
	return w.send(ctx, message)
}

// replayLimit is how many messages Since returns at the most.
const replayLimit = 200

// Watch begins to watch a conversation that the caller may read.
func (c *Chat) Watch(ctx context.Context, who auth.Principal, conversation string) (*Watch, error) {
	// Subscribed first: what is committed between the two is seen twice, not never.
	id, err := parseID(conversation, noConversation)
	if err != nil {
		return nil, err
	}
	subscription := c.events.Subscribe(id)
	session, err := c.session(ctx, who, conversation)
	if err != nil {
		subscription.Close()
		return nil, err
	}
	asked, err := c.bots.GetByID(ctx, session.OrganizationID, session.BotID)
	if err != nil {
		subscription.Close()
		return nil, err
	}
	return c.watch(who, subscription, asked, session.LastSeq), nil
}

// WatchNew opens a conversation with a bot, the default bot where none is named, and
// watches it. It is listed once it has a message, and forgotten when it never gets one.
func (c *Chat) WatchNew(ctx context.Context, who auth.Principal, botRef *string) (*Watch, error) {
	asked, err := botFor(ctx, c.bots, who, botRef)
	if err != nil {
		return nil, err
	}
	id := newID()
	if err := c.store.InTx(ctx, func(q *db.Queries) error { return open(ctx, q, who, id, asked.ID, true) }); err != nil {
		return nil, err
	}
	return c.watch(who, c.events.Subscribe(id), asked, 0), nil
}

func (c *Chat) watch(who auth.Principal, subscription *realtime.Subscription[*Event], asked db.Bot, lastSeq int64) *Watch {
	id := subscription.Topic
	c.watched.enter(who, id, lastSeq)
	return &Watch{
		Subscription: subscription,
		SessionID:    id,
		Bot:          asked,
		LastSeq:      lastSeq,
		ExpiresAt:    who.ExpiresAt,
		leave:        func() { c.watched.leave(who, id) },
		since: func(ctx context.Context, after int64) ([]db.Message, error) {
			ctx, cancel := context.WithTimeout(ctx, lookTime)
			defer cancel()
			found, _, err := c.newer(ctx, who.OrganizationID, id, after)
			if errors.Is(err, context.DeadlineExceeded) {
				err = apperr.Wrap(apperr.Unavailable, "The messages could not be read in time.", err)
			}
			return found, err
		},
		send: func(ctx context.Context, message NewMessage) (Sent, error) {
			return c.Send(ctx, who, id.String(), message)
		},
	}
}

// newer returns the oldest messages of a conversation after a seq, and whether there may
// be more. The replies among
// them that were written elsewhere have ended for who listens to them here.
func (c *Chat) newer(ctx context.Context, organization, session uuid.UUID, after int64) (found []db.Message, isMore bool, err error) {
	capped, bytes := store.WithByteLimit(ctx, pageBytes)
	found, err = c.store.ListSessionMessagesAfter(capped, db.ListSessionMessagesAfterParams{
		OrganizationID: organization,
		SessionID:      session,
		Seq:            after,
		PageLimit:      replayLimit,
	})
	if err != nil {
		return nil, false, err
	}
	var ended []*liveReply
	stored := make(map[uuid.UUID]*db.Message)
	for i, message := range found {
		if message.RunID == nil || message.Sender != "bot" {
			continue
		}
		if one, attempt := c.live.find(*message.RunID); one != nil && attempt == 0 {
			ended = append(ended, one)
			stored[one.RunID] = &found[i]
		}
	}
	return found, bytes.Truncated() || len(found) == replayLimit, c.settle(ctx, ended, stored)
}

// publish tells a conversation's watchers of an event, here and elsewhere.
func (c *Chat) publish(session uuid.UUID, event *Event) {
	c.publishHere(session, event)
	c.tell(session, event)
}

func (c *Chat) publishHere(session uuid.UUID, event *Event) {
	if event.Message != nil {
		c.watched.saw(session, event.Message.Seq)
	}
	c.events.Publish(session, event)
}
