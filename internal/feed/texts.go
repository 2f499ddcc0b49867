package feed

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/internal/realtime"
	"parley/internal/reply"
)

// The text of each reply in progress is shared through Redis, as a string per attempt. The writer appends to the
// string at the offset up to which it has shared the text. If the string is shorter, Redis has lost data, and the
// writer shares the whole text. How a reply ended is read from the database.

// shareInterval is how often the growth of local texts is shared.
const shareInterval = 25 * time.Millisecond

// SharedText is a reply that an attempt on this instance writes, as other instances follow it. A
// nil SharedText does nothing.
type SharedText struct {
	texts   *localTexts
	reply   *reply.Reply
	attempt int

	// guarded by texts.mu
	shared  int // bytes
	hasMore bool
}

// localTexts are the replies that this instance writes.
type localTexts struct {
	wake chan struct{}

	mu      sync.Mutex
	growing map[*SharedText]struct{}
	ended   []realtime.TextKey
}

// ShareText shares the text of an attempt while it grows, until Close. It returns nil without
// Redis.
func (f *Feed) ShareText(r *reply.Reply, attempt int) *SharedText {
	if f.redis == nil {
		return nil
	}
	text := &SharedText{texts: &f.local, reply: r, attempt: attempt}
	f.local.mu.Lock()
	defer f.local.mu.Unlock()
	f.local.growing[text] = struct{}{}
	return text
}

// Grew schedules the sharing of new text.
func (s *SharedText) Grew() {
	if s == nil {
		return
	}
	s.texts.mu.Lock()
	defer s.texts.mu.Unlock()
	s.hasMore = true
	signal(s.texts.wake)
}

// Close ends the sharing and schedules the removal of the text from Redis.
func (s *SharedText) Close() {
	if s == nil {
		return
	}
	s.texts.mu.Lock()
	defer s.texts.mu.Unlock()
	delete(s.texts.growing, s)
	s.texts.ended = append(s.texts.ended, s.key())
	signal(s.texts.wake)
}

func (s *SharedText) key() realtime.TextKey {
	return realtime.TextKey{Run: s.reply.RunID, Attempt: s.attempt}
}

// shareAll schedules every text, because Redis may have lost it.
func (l *localTexts) shareAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for text := range l.growing {
		text.hasMore = true
	}
	signal(l.wake)
}

// take returns the texts to be shared and what to append to each, and the texts to be removed.
func (l *localTexts) take() (grown []*SharedText, appends []realtime.TextAppend, ended []realtime.TextKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for text := range l.growing {
		if !text.hasMore {
			continue
		}
		text.hasMore = false
		if more, isCurrent := text.reply.TextAfter(text.attempt, text.shared); isCurrent && more != "" {
			grown = append(grown, text)
			appends = append(appends, realtime.TextAppend{TextKey: text.key(), Offset: text.shared, Text: more})
		}
	}
	ended, l.ended = l.ended, nil
	return grown, appends, ended
}

// shareTexts shares local texts until the feed stops.
func (f *Feed) shareTexts() {
	for {
		select {
		case <-f.running.Done():
			return
		case <-f.local.wake:
		}
		grown, appends, ended := f.local.take()
		if len(appends) > 0 {
			f.share(grown, appends)
		}
		if len(ended) > 0 {
			_ = f.redis.DeleteTexts(f.running, ended) // if it fails, they expire
		}
		select {
		case <-f.running.Done():
			return
		case <-time.After(shareInterval):
		}
	}
}

func (f *Feed) share(grown []*SharedText, appends []realtime.TextAppend) {
	applied, err := f.redis.AppendTexts(f.running, appends)
	for i, text := range grown {
		isShared := err == nil && applied[i]
		f.local.mu.Lock()
		if isShared {
			text.shared = appends[i].Offset + len(appends[i].Text)
		} else {
			text.shared = 0
			text.hasMore = err == nil // while Redis is unavailable, the next delta or the recovery retries
		}
		if text.hasMore {
			signal(f.local.wake)
		}
		f.local.mu.Unlock()
		if isShared {
			f.Notify(Notification{Kind: KindText, Topic: text.reply.ConversationID, ID: text.reply.RunID, Number: int64(text.attempt)})
		}
	}
}

// remoteTexts are the replies that other instances write and whose text must be read.
type remoteTexts struct {
	wake chan struct{}

	mu    sync.Mutex
	grown map[uuid.UUID]remoteText // by run
}

type remoteText struct {
	reply   *reply.Reply
	attempt int
}

// ReadText schedules the reading of a text that an attempt on another instance writes. It does
// nothing without Redis.
func (f *Feed) ReadText(r *reply.Reply, attempt int) {
	if f.redis == nil {
		return
	}
	f.remote.mu.Lock()
	defer f.remote.mu.Unlock()
	if f.remote.grown == nil {
		f.remote.grown = make(map[uuid.UUID]remoteText)
	}
	f.remote.grown[r.RunID] = remoteText{reply: r, attempt: max(f.remote.grown[r.RunID].attempt, attempt)}
	signal(f.remote.wake)
}

func (r *remoteTexts) take() map[uuid.UUID]remoteText {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.grown
	r.grown = nil
	return taken
}

// readTexts appends what other instances have written, until the feed stops.
func (f *Feed) readTexts() {
	for {
		select {
		case <-f.running.Done():
			return
		case <-f.remote.wake:
		}
		f.readGrown(f.running, f.remote.take())
	}
}

func (f *Feed) readGrown(ctx context.Context, grown map[uuid.UUID]remoteText) {
	var replies []*reply.Reply
	var texts []realtime.TextPosition
	for run, text := range grown {
		text.reply.Restart(text.attempt)
		if at, mayGrow := text.reply.Progress(); mayGrow {
			replies = append(replies, text.reply)
			texts = append(texts, realtime.TextPosition{TextKey: realtime.TextKey{Run: run, Attempt: at.Attempt}, Offset: at.Offset})
		}
	}
	if len(texts) == 0 {
		return
	}
	deltas, err := f.redis.ReadTexts(ctx, texts)
	if err != nil {
		return // the outcome comes from the database
	}
	for i, r := range replies {
		r.AppendAt(texts[i].Attempt, texts[i].Offset, deltas[i])
	}
}
