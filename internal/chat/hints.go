package chat

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/realtime"
)

// What the instances tell each other, by the kind of a hint. Its topic is the
// conversation or visit. A hint says where to look, never what is there.
const (
	hintMessage = "message" // the number is the seq that it has come to
	hintRun     = "run"     // the run of the id has begun, is to be cancelled, or has ended
	hintText    = "text"    // the text of the run of the id has grown; the number is the attempt
	hintRated   = "rated"   // the message of the id is liked or not
	hintDeleted = "deleted"
	hintVisit   = "visit" // a reply of a visit, with the id as its run, has begun or ended silent
)

// What has become of a visit's reply; the number of a hintVisit. An end that has a text
// is a message.
const (
	isBegun  = 1
	isSilent = 2
)

// tell gives other instances a hint of an event.
func (c *Chat) tell(session uuid.UUID, event *Event) {
	switch {
	case event.Message != nil:
		c.link.Publish(realtime.Notification{Kind: hintMessage, Topic: session, Number: event.Message.Seq})
	case event.Rated != nil:
		c.link.Publish(realtime.Notification{Kind: hintRated, Topic: session, ID: event.Rated.ID})
	case event.Reply != nil:
		c.tellRun(session, event.Reply.RunID)
	}
}

func (c *Chat) tellRun(session, run uuid.UUID) {
	c.link.Publish(realtime.Notification{Kind: hintRun, Topic: session, ID: run})
}

func (c *Chat) tellDeleted(session uuid.UUID) {
	c.link.Publish(realtime.Notification{Kind: hintDeleted, Topic: session})
}

func (c *Chat) tellVisit(visit, run uuid.UUID, state int64) {
	c.link.Publish(realtime.Notification{Kind: hintVisit, Topic: visit, ID: run, Number: state})
}

// heardHints is what is to be looked up because of hints: sets, so that however many
// come they hold no more than what is watched and awaited here.
type heardHints struct {
	wake      chan struct{}
	wakeTexts chan struct{}

	mu          sync.Mutex
	hasListened bool // the others were heard at some time
	heard
	texts map[uuid.UUID]grownText // by run
}

// grownText is a text that has grown elsewhere.
type grownText struct {
	session uuid.UUID
	attempt int
}

// heard is what is looked up in one go.
type heard struct {
	isMissed bool                    // anything may have happened
	isGone   bool                    // of what is watched something was deleted
	sessions map[uuid.UUID]struct{}  // they have new messages
	runs     map[uuid.UUID]uuid.UUID // the session by run
	rated    map[uuid.UUID]uuid.UUID // the session by message
	// visits have new turns, or replies in the state of a hintVisit.
	visits map[uuid.UUID]map[uuid.UUID]int64
}

func (h *heardHints) note(add func(*heard)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions == nil {
		h.sessions, h.runs, h.rated = make(map[uuid.UUID]struct{}), make(map[uuid.UUID]uuid.UUID), make(map[uuid.UUID]uuid.UUID)
		h.visits = make(map[uuid.UUID]map[uuid.UUID]int64)
	}
	add(&h.heard)
	call(h.wake)
}

// noteText notes that an attempt has written more elsewhere.
func (h *heardHints) noteText(session, run uuid.UUID, attempt int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.texts == nil {
		h.texts = make(map[uuid.UUID]grownText)
	}
	h.texts[run] = grownText{session: session, attempt: max(h.texts[run].attempt, attempt)}
	call(h.wakeTexts)
}

// noteVisit notes that something was said in a visit.
func (h *heardHints) noteVisit(visit uuid.UUID) {
	h.note(func(h *heard) {
		if _, isNoted := h.visits[visit]; !isNoted {
			h.visits[visit] = nil
		}
	})
}

// noteVisitReply notes what has become of a visit's reply.
func (h *heardHints) noteVisitReply(visit, run uuid.UUID, state int64) {
	h.note(func(h *heard) {
		if h.visits[visit] == nil {
			h.visits[visit] = make(map[uuid.UUID]int64)
		}
		h.visits[visit][run] = max(h.visits[visit][run], state)
	})
}

// miss notes that hints may have been lost.
func (h *heardHints) miss() {
	h.note(func(one *heard) { one.isMissed, h.hasListened = true, true })
}

func (h *heardHints) take() heard {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.heard
	h.heard = heard{}
	return taken
}

func (h *heardHints) takeTexts() map[uuid.UUID]grownText {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.texts
	h.texts = nil
	return taken
}

// call wakes who waits for a channel that holds one value.
func call(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default: // it is awake
	}
}

// hear notes what of the hints concerns this instance; it does not wait.
func (c *Chat) hear(hints []realtime.Notification) {
	for _, hint := range hints {
		_, lastSeq, isWatched := c.watched.find(hint.Topic)
		switch hint.Kind {
		case hintMessage:
			switch {
			case isWatched && hint.Number > lastSeq:
				c.hints.note(func(h *heard) { h.sessions[hint.Topic] = struct{}{} })
			case !isWatched && c.visits.find(hint.Topic) != nil:
				c.hints.noteVisit(hint.Topic)
			}
		case hintVisit:
			if c.visits.find(hint.Topic) != nil {
				c.hints.noteVisitReply(hint.Topic, hint.ID, hint.Number)
			}
		case hintRated:
			if isWatched {
				c.hints.note(func(h *heard) { h.rated[hint.ID] = hint.Topic })
			}
		case hintDeleted:
			if isWatched {
				c.hints.note(func(h *heard) { h.isGone = true })
			}
			for _, run := range c.live.of(hint.Topic) {
				c.hints.note(func(h *heard) { h.runs[run] = hint.Topic })
			}
		case hintRun:
			if found, _ := c.live.find(hint.ID); found != nil || isWatched {
				c.hints.note(func(h *heard) { h.runs[hint.ID] = hint.Topic })
			}
		case hintText:
			c.hearText(hint, isWatched)
		}
	}
}

// hearText notes that a text has grown elsewhere; where nothing is known here of that
// attempt, the hint of its beginning was lost.
func (c *Chat) hearText(hint realtime.Notification, isWatched bool) {
	switch found, attempt := c.live.find(hint.ID); {
	case found != nil && attempt == 0, found == nil && !isWatched && c.visits.find(hint.Topic) != nil:
		c.hints.noteText(hint.Topic, hint.ID, int(hint.Number))
	case found == nil && isWatched, found != nil && attempt < int(hint.Number):
		c.hints.note(func(h *heard) { h.runs[hint.ID] = hint.Topic })
	}
}

// readUp looks up what the hints were about, each round in one go, until ctx is done.
func (c *Chat) readUp(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.hints.wake:
		}
		// Should it fail, the look every two seconds finds what was missed, but for feedback.
		if err := c.lookUp(ctx, c.hints.take()); err != nil && ctx.Err() == nil {
			c.log.Error("what other instances have done could not be read", "error", err)
		}
	}
}

func (c *Chat) lookUp(ctx context.Context, what heard) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if what.isMissed {
		c.recover(ctx)
		if err := c.look(ctx); err != nil {
			return err
		}
	}
	if what.isMissed || what.isGone {
		if err := c.lookOut(ctx); err != nil {
			return err
		}
	}
	// INVARIANT: the runs are read after the messages. One that is still running then has
	// no message among them, so its beginning is told before its message.
	messages := make(map[uuid.UUID][]db.Message, len(what.sessions))
	var unread []uuid.UUID // there are more than were read
	for session := range what.sessions {
		organization, lastSeq, isWatched := c.watched.find(session)
		if !isWatched {
			continue
		}
		found, isMore, err := c.newer(ctx, organization, session, lastSeq)
		if err != nil {
			return err
		}
		if messages[session] = found; isMore {
			unread = append(unread, session)
		}
	}
	runs, err := c.readRuns(ctx, what.runs)
	if err != nil {
		return err
	}
	for session, found := range messages {
		for i := range found {
			c.publishHere(session, &Event{Message: &found[i]})
		}
	}
	for _, session := range unread {
		c.events.Publish(session, &Event{}) // who watches reads the rest
	}
	for run, session := range what.runs {
		if err := c.hearRun(ctx, run, session, runs[run]); err != nil {
			return err
		}
	}
	for id, replies := range what.visits {
		if err := c.hearVisit(ctx, id, replies); err != nil {
			return err
		}
	}
	return c.hearRated(ctx, what.rated)
}

// recover makes good what a Redis that was away, or has forgotten, cannot have: what is
// there of this instance's, and what this instance has not heard of texts and visits.
func (c *Chat) recover(ctx context.Context) {
	if kept, ok := c.visits.store.(*redisVisits); ok {
		kept.restore(ctx)
	}
	c.written.markAll()
	for _, one := range c.live.awaited() {
		c.hints.noteText(one.ConversationID, one.RunID, 0)
	}
	for _, served := range c.visits.all() {
		c.hints.noteVisit(served.id)
	}
}

// readRuns reads the runs, in one query.
func (c *Chat) readRuns(ctx context.Context, wanted map[uuid.UUID]uuid.UUID) (map[uuid.UUID]db.Run, error) {
	var organizations, ids []uuid.UUID
	for run, session := range wanted {
		organization, _, isKnown := c.watched.find(session)
		if found, _ := c.live.find(run); found != nil {
			organization, isKnown = found.organization, true
		}
		if isKnown {
			organizations, ids = append(organizations, organization), append(ids, run)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := c.store.ListRuns(ctx, organizations, ids)
	if err != nil {
		return nil, err
	}
	runs := make(map[uuid.UUID]db.Run, len(found))
	for _, run := range found {
		runs[run.ID] = run
	}
	return runs, nil
}

// hearRun does what the state of a run asks of this instance. The zero run is one that
// is gone, which says nothing of one that is written here: it may be newer than the look.
func (c *Chat) hearRun(ctx context.Context, id, session uuid.UUID, run db.Run) error {
	found, attempt := c.live.find(id)
	switch {
	case attempt > 0 && int(run.Attempt) > attempt:
		c.live.stop(id, attempt, errLost)
	case attempt > 0 && run.CancelRequested:
		c.live.stop(id, attempt, errCancelled)
	case attempt > 0: // it goes on here
	case run.ID == uuid.Nil || run.FinishedAt != nil:
		if found != nil {
			return c.conclude(ctx, found, run, nil)
		}
	case run.State == "running":
		growing := c.live.add(run.OrganizationID, run.ID, run.SessionID, run.ReplyID)
		growing.restart(int(run.Attempt))
		c.live.await(run.ID)
		if c.live.announce(run.ID, int(run.Attempt)) {
			c.events.Publish(session, &Event{Reply: growing})
		}
		c.hints.noteText(session, run.ID, int(run.Attempt))
	}
	return nil
}

// hearRated tells who watches of messages that are liked, or no longer.
func (c *Chat) hearRated(ctx context.Context, rated map[uuid.UUID]uuid.UUID) error {
	for id, session := range rated {
		organization, _, isWatched := c.watched.find(session)
		if !isWatched {
			continue
		}
		found, err := c.store.GetMessage(ctx, organization, id)
		if apperr.Is(err, apperr.NotFound) {
			continue // it was deleted meanwhile
		}
		if err != nil {
			return err
		}
		c.events.Publish(session, &Event{Rated: &found.Message})
	}
	return nil
}
