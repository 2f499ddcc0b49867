package chat

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"parley/internal/auth"
)

// lookOut compares what is watched with the database, in one query, and tells the
// watchers of what was committed without their hearing of it: by another process, or
// where a hint was lost. In another one it looks for the keys by which they watch.
// Whoever watches something that is gone, or by a key that has ended, is told at each
// look, until they have left.
func (c *Chat) lookOut(ctx context.Context) error {
	organizations, sessions, seqs := c.watched.all()
	if len(sessions) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	newer, err := c.store.ListChangedSessions(ctx, organizations, sessions, seqs)
	if err != nil {
		return err
	}
	for _, one := range newer {
		if c.watched.saw(one.ID, one.LastSeq) || one.IsGone { // else it was told meanwhile
			c.events.Publish(one.ID, &Event{IsGone: one.IsGone})
		}
	}
	organizations, keys := c.watched.keys()
	ended, err := c.store.ListInvalidAPIKeys(ctx, organizations, keys)
	if err != nil {
		return err
	}
	for _, key := range ended {
		for _, session := range c.watched.by(key) {
			c.events.Publish(session, &Event{EndedKey: key})
		}
	}
	return nil
}

// watchedSessions holds the conversations that are watched in this process, by which
// keys, and how far they were heard of.
type watchedSessions struct {
	mu   sync.Mutex
	byID map[uuid.UUID]*watchedSession
}

type watchedSession struct {
	organization uuid.UUID
	lastSeq      int64
	watchers     map[uuid.UUID]int // by their keys
}

func (w *watchedSessions) enter(who auth.Principal, session uuid.UUID, lastSeq int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byID == nil {
		w.byID = make(map[uuid.UUID]*watchedSession)
	}
	if w.byID[session] == nil {
		w.byID[session] = &watchedSession{organization: who.OrganizationID, lastSeq: lastSeq, watchers: make(map[uuid.UUID]int)}
	}
	w.byID[session].watchers[who.KeyID]++
}

func (w *watchedSessions) leave(who auth.Principal, session uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := w.byID[session]
	if left.watchers[who.KeyID]--; left.watchers[who.KeyID] == 0 {
		delete(left.watchers, who.KeyID)
	}
	if len(left.watchers) == 0 {
		delete(w.byID, session)
	}
}

// saw notes that a conversation has come to a seq, and tells whether that is news.
func (w *watchedSessions) saw(session uuid.UUID, seq int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.byID[session]
	if seen == nil || seq <= seen.lastSeq {
		return false
	}
	seen.lastSeq = seq
	return true
}

// find returns the organization of a conversation that is watched here, and how far it
// was heard of.
func (w *watchedSessions) find(session uuid.UUID) (organization uuid.UUID, lastSeq int64, isWatched bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.byID[session]
	if seen == nil {
		return uuid.UUID{}, 0, false
	}
	return seen.organization, seen.lastSeq, true
}

func (w *watchedSessions) all() (organizations, sessions []uuid.UUID, seqs []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, one := range w.byID {
		organizations = append(organizations, one.organization)
		sessions = append(sessions, id)
		seqs = append(seqs, one.lastSeq)
	}
	return organizations, sessions, seqs
}

// keys returns each key by which something is watched once, and its organization.
func (w *watchedSessions) keys() (organizations, keys []uuid.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	met := make(map[uuid.UUID]bool)
	for _, one := range w.byID {
		for key := range one.watchers {
			if key != uuid.Nil && !met[key] {
				met[key] = true
				organizations, keys = append(organizations, one.organization), append(keys, key)
			}
		}
	}
	return organizations, keys
}

// by returns the conversations that are watched by a key.
func (w *watchedSessions) by(key uuid.UUID) []uuid.UUID {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sessions []uuid.UUID
	for id, one := range w.byID {
		if one.watchers[key] > 0 {
			sessions = append(sessions, id)
		}
	}
	return sessions
}
