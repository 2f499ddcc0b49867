package feed

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/realtime"
	"parley/internal/store"
)

// replayLimit is how many messages Since returns at most.
const replayLimit = 200

// Watch follows one conversation or visit. It belongs to one goroutine.
//
// Events may be missed, which Missed signals; Since then returns what was committed. After
// subscribing, Since returns the messages before the first event.
type Watch struct {
	*realtime.Subscription[Event]
	SessionID   uuid.UUID
	Bot         db.Bot
	LastSeq     int64      // when the watch began
	IsAnonymous bool       // it is a visit
	ExpiresAt   *time.Time // of the visit, or of the caller's key or token; nil for never

	since func(ctx context.Context, after int64) ([]db.Message, error)
	leave func()
}

// NewWatch returns a watch on a subscription: since reads messages, and leave runs on Close.
func NewWatch(subscription *realtime.Subscription[Event], since func(context.Context, int64) ([]db.Message, error), leave func()) *Watch {
	return &Watch{Subscription: subscription, SessionID: subscription.Topic, since: since, leave: leave}
}

// Close ends the watch.
func (w *Watch) Close() {
	w.Subscription.Close()
	w.leave()
}

// Since returns the oldest messages after a seq, oldest first: at most 200, fewer if they are long,
// and none if there are none.
func (w *Watch) Since(ctx context.Context, after int64) ([]db.Message, error) {
	return w.since(ctx, after)
}

// WatchConversation watches the conversation of a subscription by a key, the zero UUID for none.
func (f *Feed) WatchConversation(subscription *realtime.Subscription[Event], organization, key uuid.UUID, lastSeq int64) *Watch {
	id := subscription.Topic
	f.watched.enter(organization, id, key, lastSeq)
	since := func(ctx context.Context, after int64) ([]db.Message, error) {
		ctx, cancel := context.WithTimeout(ctx, QueryTimeout)
		defer cancel()
		found, _, err := f.read(ctx, organization, id, after)
		if errors.Is(err, context.DeadlineExceeded) {
			err = apperr.Wrap(apperr.Unavailable, "The messages could not be read in time.", err)
		}
		return found, err
	}
	watch := NewWatch(subscription, since, func() { f.watched.leave(id, key) })
	watch.LastSeq = lastSeq
	return watch
}

// read returns the oldest messages of a conversation after a seq, and whether there may be more.
func (f *Feed) read(ctx context.Context, organization, conversation uuid.UUID, after int64) (found []db.Message, hasMore bool, err error) {
	capped, bytes := store.WithByteLimit(ctx, PageBytes)
	found, err = f.store.ListSessionMessagesAfter(capped, db.ListSessionMessagesAfterParams{
		OrganizationID: organization,
		SessionID:      conversation,
		Seq:            after,
		PageLimit:      replayLimit,
	})
	if err != nil {
		return nil, false, err
	}
	for _, hook := range f.onRead {
		if err := hook(ctx, found); err != nil {
			return nil, false, err
		}
	}
	return found, bytes.Truncated() || len(found) == replayLimit, nil
}

// Organization returns the organization of a conversation; false if it is not watched here.
func (f *Feed) Organization(conversation uuid.UUID) (uuid.UUID, bool) {
	f.watched.mu.Lock()
	defer f.watched.mu.Unlock()
	found := f.watched.byID[conversation]
	if found == nil {
		return uuid.UUID{}, false
	}
	return found.organization, true
}

// watchedConversations are the conversations that are watched on this instance, by which keys, and
// up to which seq their events were published here.
type watchedConversations struct {
	mu   sync.Mutex
	byID map[uuid.UUID]*watchedConversation
}

type watchedConversation struct {
	organization uuid.UUID
	lastSeq      int64
	watchers     map[uuid.UUID]int // by key
}

func (w *watchedConversations) enter(organization, conversation, key uuid.UUID, lastSeq int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byID == nil {
		w.byID = make(map[uuid.UUID]*watchedConversation)
	}
	if w.byID[conversation] == nil {
		w.byID[conversation] = &watchedConversation{organization: organization, lastSeq: lastSeq, watchers: make(map[uuid.UUID]int)}
	}
	w.byID[conversation].watchers[key]++
}

func (w *watchedConversations) leave(conversation, key uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := w.byID[conversation]
	if left.watchers[key]--; left.watchers[key] == 0 {
		delete(left.watchers, key)
	}
	if len(left.watchers) == 0 {
		delete(w.byID, conversation)
	}
}

// advance records that a conversation has reached a seq. It reports whether that is new.
func (w *watchedConversations) advance(conversation uuid.UUID, seq int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := w.byID[conversation]
	if found == nil || seq <= found.lastSeq {
		return false
	}
	found.lastSeq = seq
	return true
}

// lastSeq returns the seq that a watched conversation has reached.
func (w *watchedConversations) lastSeq(conversation uuid.UUID) (seq int64, isWatched bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := w.byID[conversation]
	if found == nil {
		return 0, false
	}
	return found.lastSeq, true
}

// all returns the watched conversations and their seqs.
func (w *watchedConversations) all() (organizations, conversations []uuid.UUID, seqs []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, watched := range w.byID {
		organizations = append(organizations, watched.organization)
		conversations = append(conversations, id)
		seqs = append(seqs, watched.lastSeq)
	}
	return organizations, conversations, seqs
}

// keys returns each key that something is watched by once, and its organization.
func (w *watchedConversations) keys() (organizations, keys []uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	isListed := make(map[uuid.UUID]bool)
	for _, watched := range w.byID {
		for key := range watched.watchers {
			if key != uuid.Nil && !isListed[key] {
				isListed[key] = true
				organizations, keys = append(organizations, watched.organization), append(keys, key)
			}
		}
	}
	return organizations, keys
}

// watchedBy returns the conversations that are watched by a key.
func (w *watchedConversations) watchedBy(key uuid.UUID) []uuid.UUID {
	w.mu.Lock()
	defer w.mu.Unlock()
	var conversations []uuid.UUID
	for id, watched := range w.byID {
		if watched.watchers[key] > 0 {
			conversations = append(conversations, id)
		}
	}
	return conversations
}
