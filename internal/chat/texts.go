package chat

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/internal/realtime"
)

// shareInterval is how often the growth of the replies that are written here is told to
// other instances.
const shareInterval = 25 * time.Millisecond

// ownTexts are the replies that this instance writes, and how much of each the others
// can read.
type ownTexts struct {
	wake chan struct{}

	mu    sync.Mutex
	byRun map[uuid.UUID]*ownText
	over  []realtime.TextKey // what nobody needs any more
}

type ownText struct {
	*Reply
	attempt int
	shared  int // so many bytes
	hasMore bool
}

// begin notes that an attempt writes here; without a link there is nobody to read it.
func (o *ownTexts) begin(link *realtime.Redis, reply *Reply, attempt int) {
	if link == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byRun == nil {
		o.byRun = make(map[uuid.UUID]*ownText)
	}
	o.byRun[reply.RunID] = &ownText{Reply: reply, attempt: attempt}
}

// grew notes that there is more to be shared.
func (o *ownTexts) grew(run uuid.UUID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if one := o.byRun[run]; one != nil {
		one.hasMore = true
		call(o.wake)
	}
}

// end notes that an attempt writes no longer; how it ended is in the database.
func (o *ownTexts) end(reply *Reply, attempt int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if one := o.byRun[reply.RunID]; one != nil && one.attempt == attempt {
		delete(o.byRun, reply.RunID)
		o.over = append(o.over, realtime.TextKey{Run: reply.RunID, Attempt: attempt})
		call(o.wake)
	}
}

// markAll has every text shared anew, where it may have been lost.
func (o *ownTexts) markAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.byRun {
		one.hasMore = true
	}
	call(o.wake)
}

// take returns what has grown since it was shared, and what is over.
func (o *ownTexts) take() (grown []*ownText, growths []realtime.TextAppend, over []realtime.TextKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for run, one := range o.byRun {
		if !one.hasMore {
			continue
		}
		one.hasMore = false
		if text, isCurrent := one.beyond(one.attempt, one.shared); isCurrent && text != "" {
			key := realtime.TextKey{Run: run, Attempt: one.attempt}
			grown, growths = append(grown, one), append(growths, realtime.TextAppend{TextKey: key, Offset: one.shared, Text: text})
		}
	}
	over, o.over = o.over, nil
	return grown, growths, over
}

// shareTexts lets other instances read the replies that are written here as they grow,
// until ctx is done.
func (c *Chat) shareTexts(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.written.wake:
		}
		grown, growths, over := c.written.take()
		if len(growths) > 0 {
			c.share(ctx, grown, growths)
		}
		if len(over) > 0 {
			_ = c.link.DeleteTexts(ctx, over) // else their time runs out
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(shareInterval):
		}
	}
}

// share writes what has grown. What was lost in between, as when Redis was started
// anew, is written as a whole.
func (c *Chat) share(ctx context.Context, grown []*ownText, growths []realtime.TextAppend) {
	areWhole, err := c.link.AppendTexts(ctx, growths)
	for i, one := range grown {
		c.written.mu.Lock()
		isShared := err == nil && areWhole[i]
		if isShared {
			one.shared = growths[i].Offset + len(growths[i].Text)
		} else {
			one.shared = 0
			one.hasMore = err == nil // while Redis is away the next delta, or its return, tries again
		}
		if one.hasMore {
			call(c.written.wake)
		}
		c.written.mu.Unlock()
		if isShared {
			c.link.Publish(realtime.Notification{Kind: hintText, Topic: one.ConversationID, ID: one.RunID, Number: int64(one.attempt)})
		}
	}
}

// readTexts has the replies grow here that other instances write, until ctx is done.
func (c *Chat) readTexts(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.hints.wakeTexts:
		}
		var replies []*Reply
		var texts []realtime.TextPosition
		for run, grown := range c.hints.takeTexts() {
			found := c.growingElsewhere(grown.session, run)
			if found == nil {
				continue
			}
			found.restart(grown.attempt)
			attempt := max(grown.attempt, found.Beginning().Attempt)
			if offset, isCurrent := found.reached(attempt); isCurrent {
				replies = append(replies, found)
				texts = append(texts, realtime.TextPosition{TextKey: realtime.TextKey{Run: run, Attempt: attempt}, Offset: offset})
			}
		}
		if c.link == nil || len(texts) == 0 {
			continue
		}
		grown, err := c.link.ReadTexts(ctx, texts)
		if err != nil {
			continue // the end comes from the database
		}
		for i, reply := range replies {
			reply.growFrom(texts[i].Attempt, texts[i].Offset, grown[i])
		}
	}
}

// growingElsewhere returns the reply of a run that another instance writes and somebody
// here follows, or nil.
func (c *Chat) growingElsewhere(session, run uuid.UUID) *Reply {
	if found, attempt := c.live.find(run); found != nil && attempt == 0 {
		return found.Reply
	}
	if served := c.visits.find(session); served != nil {
		if reply := served.elsewhere.Load(); reply != nil && reply.RunID == run {
			return reply
		}
	}
	return nil
}
