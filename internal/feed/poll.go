package feed

import (
	"context"
	"time"
)

// pollInterval is how often the watched conversations are compared with the database.
const pollInterval = 2 * time.Second

func (f *Feed) pollLoop() {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if err := f.poll(f.running); err != nil && f.running.Err() == nil {
			f.log.Error("poll watched conversations", "err", err)
		}
		select {
		case <-f.running.Done():
			return
		case <-ticker.C:
		}
	}
}

// poll finds what was committed without a notification, watched conversations that were deleted, and
// keys in use that have ended. It takes two queries for all watchers. The events of deleted
// conversations and ended keys are repeated on each poll until their watchers have left.
func (f *Feed) poll(ctx context.Context) error {
	organizations, conversations, seqs := f.watched.all()
	if len(conversations) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, QueryTimeout)
	defer cancel()
	changed, err := f.store.ListChangedSessions(ctx, organizations, conversations, seqs)
	if err != nil {
		return err
	}
	for _, session := range changed {
		switch {
		case session.IsGone:
			f.PublishLocal(session.ID, &ConversationDeleted{})
		case f.watched.advance(session.ID, session.LastSeq): // else published meanwhile
			f.PublishLocal(session.ID, &Behind{})
		}
	}
	organizations, keys := f.watched.keys()
	ended, err := f.store.ListInvalidAPIKeys(ctx, organizations, keys)
	if err != nil {
		return err
	}
	for _, key := range ended {
		for _, conversation := range f.watched.watchedBy(key) {
			f.PublishLocal(conversation, &KeyEnded{KeyID: key})
		}
	}
	return nil
}
