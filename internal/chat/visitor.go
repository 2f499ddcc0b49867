package chat

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
)

// maxVisits bounds the visits that an instance serves.
const maxVisits = 10_000

// visits serves the anonymous visitors' conversations. Nothing of them is in the
// database: the bot is called directly, and what was said is in the visitStore,
// bounded, until the visit has been idle for its time.
type visits struct {
	ttl   time.Duration
	limit int
	store visitStore
	// slots bounds the answers that are written at once; answering counts who writes.
	slots     chan struct{}
	answering sync.WaitGroup

	mu   sync.Mutex
	byID map[uuid.UUID]*visiting
}

// visiting is a visit as this instance serves it.
type visiting struct {
	id  uuid.UUID
	bot db.Bot // as it was when the visit was first served here

	watchers int         // under the lock of visits
	isUsed   atomic.Bool // something was said in it

	mu         sync.Mutex // orders what is said here, and the telling of it
	lastSeq    int64      // all up to it was told to who watches here
	waiting    []turn     // questions sent here that have no answer yet; the first one is being answered
	isAnswered bool       // somebody works them off

	elsewhere atomic.Pointer[Reply] // what another instance writes, or wrote last
	warned    time.Time             // the end that was warned of; the sweep's
}

// Visit begins an anonymous visit to the first organization's default bot, or
// continues one: NotFound where it is over or never was.
func (c *Chat) Visit(ctx context.Context, id, botRef *string) (*Watch, error) {
	if id != nil {
		visitID, err := parseID(*id, noVisit)
		if err != nil {
			return nil, err
		}
		return c.watchVisit(ctx, visitID)
	}
	asked, err := c.visitedBot(ctx)
	if err != nil {
		return nil, err
	}
	if botRef != nil && *botRef != asked.Slug && *botRef != asked.ID.String() {
		return nil, apperr.New(apperr.Forbidden, "Without an API key only the default bot may be visited.")
	}
	begun := visit{ID: newID(), OrganizationID: asked.OrganizationID, BotID: asked.ID}
	entered, err := c.visits.enter(begun, asked)
	if err != nil {
		return nil, err
	}
	defer c.visits.unwatch(entered)
	if err := c.visits.store.begin(ctx, begun); err != nil {
		c.visits.leave(begun.ID)
		return nil, err
	}
	return c.watchVisit(ctx, begun.ID)
}

const noVisit = "There is no such visit; it may have ended."

// visitedBot is the default bot of the organization that was made first.
func (c *Chat) visitedBot(ctx context.Context) (db.Bot, error) {
	first, err := c.store.GetFirstOrganization(ctx)
	if err != nil {
		return db.Bot{}, apperr.Rephrase(err, apperr.NotFound, "There is nothing to visit.")
	}
	return c.bots.Default(ctx, first.ID)
}

// enter has a visit served here, where it may be already, and watched until unwatch.
func (v *visits) enter(seen visit, asked db.Bot) (*visiting, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if found := v.byID[seen.ID]; found != nil {
		found.watchers++
		return found, nil
	}
	if len(v.byID) >= v.limit && !v.makeRoom() {
		return nil, &apperr.Error{Kind: apperr.Unavailable, Message: "Too many visits are going on; try again later.", RetryAfter: time.Minute}
	}
	if v.byID == nil {
		v.byID = make(map[uuid.UUID]*visiting)
	}
	entered := &visiting{id: seen.ID, bot: asked, lastSeq: seen.LastSeq, watchers: 1}
	entered.isUsed.Store(seen.LastSeq > 0)
	v.byID[seen.ID] = entered
	return entered, nil
}

// makeRoom ends the oldest visit that was left without a word, so that nobody keeps
// visitors out by coming and going. The caller holds the lock.
func (v *visits) makeRoom() bool {
	var oldest *visiting
	for _, one := range v.byID {
		isLeft := one.watchers == 0 && !one.isUsed.Load()
		if isLeft && (oldest == nil || bytes.Compare(one.id[:], oldest.id[:]) < 0) { // ids are in the order of time
			oldest = one
		}
	}
	if oldest == nil {
		return false
	}
	delete(v.byID, oldest.id)
	v.store.forget(oldest.id)
	return true
}

// watch is find for who watches the visit until unwatch.
func (v *visits) watch(id uuid.UUID) *visiting {
	v.mu.Lock()
	defer v.mu.Unlock()
	found := v.byID[id]
	if found != nil {
		found.watchers++
	}
	return found
}

func (v *visits) unwatch(served *visiting) {
	v.mu.Lock()
	defer v.mu.Unlock()
	served.watchers--
}

// find returns a visit that is served here, or nil.
func (v *visits) find(id uuid.UUID) *visiting {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.byID[id]
}

func (v *visits) leave(id uuid.UUID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.byID, id)
}

func (v *visits) all() []*visiting {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Collect(maps.Values(v.byID))
}

// watchVisit watches a visit that was begun, at whichever instance: to come back is
// activity.
func (c *Chat) watchVisit(ctx context.Context, id uuid.UUID) (*Watch, error) {
	// Subscribed first: what is said between the two is seen twice, not never.
	subscription := c.events.Subscribe(id)
	seen, served, err := c.resumeVisit(ctx, id)
	if err != nil {
		subscription.Close()
		return nil, err
	}
	end, _ := c.visits.store.end(ctx, id) // it has just been active
	return &Watch{
		Subscription: subscription,
		SessionID:    id,
		Bot:          served.bot,
		LastSeq:      seen.LastSeq,
		IsAnonymous:  true,
		ExpiresAt:    &end,
		leave:        sync.OnceFunc(func() { c.visits.unwatch(served) }),
		since: func(ctx context.Context, after int64) ([]db.Message, error) {
			served.mu.Lock()
			defer served.mu.Unlock()
			return c.newerTurns(ctx, served, after)
		},
		send: func(ctx context.Context, message NewMessage) (Sent, error) {
			return c.sendVisit(ctx, served, message)
		},
	}, nil
}

// resumeVisit returns a visit, watched until unwatch.
func (c *Chat) resumeVisit(ctx context.Context, id uuid.UUID) (visit, *visiting, error) {
	seen, err := c.visits.store.read(ctx, id, true)
	if err != nil {
		return visit{}, nil, err
	}
	if served := c.visits.watch(id); served != nil {
		return seen, served, nil
	}
	asked, err := c.bots.GetByID(ctx, seen.OrganizationID, seen.BotID)
	if err != nil {
		return visit{}, nil, apperr.Rephrase(err, apperr.NotFound, noVisit)
	}
	served, err := c.visits.enter(seen, asked)
	return seen, served, err
}

// newerTurns returns what was said after a seq; nothing where the visit is over. An
// answer of another instance has ended by then for who follows it here. The caller
// holds the lock.
func (c *Chat) newerTurns(ctx context.Context, served *visiting, after int64) ([]db.Message, error) {
	seen, err := c.visits.store.read(ctx, served.id, false)
	if err != nil {
		if apperr.Is(err, apperr.NotFound) {
			return nil, nil
		}
		return nil, err
	}
	var found []db.Message
	for _, one := range seen.Turns {
		if one.Seq > after {
			found = append(found, one.message(served.id))
		}
		if reply := served.elsewhere.Load(); reply != nil && one.RunID != nil && *one.RunID == reply.RunID {
			reply.end(1, &Outcome{State: "completed", FinishReason: "stop", Content: one.Content, Seq: one.Seq})
		}
	}
	return found, nil
}

// hearVisit tells who watches a visit here what was said in it elsewhere, and of the
// replies that have begun there, or ended without a text.
func (c *Chat) hearVisit(ctx context.Context, id uuid.UUID, replies map[uuid.UUID]int64) error {
	served := c.visits.find(id)
	if served == nil {
		return nil
	}
	served.mu.Lock()
	defer served.mu.Unlock()
	newer, err := c.newerTurns(ctx, served, served.lastSeq)
	if err != nil {
		return err
	}
	for i := range newer {
		served.lastSeq = newer[i].Seq
		c.publishHere(id, &Event{Message: &newer[i]})
	}
	for run, state := range replies {
		reply := served.elsewhere.Load()
		isKnown := reply != nil && reply.RunID == run
		isSaid := slices.ContainsFunc(newer, func(one db.Message) bool { return one.RunID != nil && *one.RunID == run })
		switch {
		case isKnown && state == isSilent:
			reply.end(1, &Outcome{State: "failed", FinishReason: "error"})
		case !isKnown && !isSaid && state == isBegun:
			reply = newReply(run, id, uuid.Nil)
			served.elsewhere.Store(reply)
			c.publishHere(id, &Event{Reply: reply})
			c.hints.noteText(id, run, 1)
		}
	}
	return nil
}

// sendVisit takes a visitor's message and has the bot answer it, one after the
// other.
func (c *Chat) sendVisit(ctx context.Context, served *visiting, message NewMessage) (Sent, error) {
	if err := message.mustSay("/content"); err != nil {
		return Sent{}, err
	}
	if len(message.Attachments) > 0 {
		return Sent{}, apperr.New(apperr.Forbidden, "Without an API key no attachments can be sent.")
	}
	asked := turn{ID: message.ID, Sender: byUser, Content: message.Content, Metadata: message.Metadata}
	if asked.ID == uuid.Nil {
		asked.ID = newID()
	}
	if message.IdempotencyKey != nil {
		asked.ClientID = message.IdempotencyKey.Key
	}
	served.mu.Lock()
	defer served.mu.Unlock()
	said, err := c.say(ctx, served, asked, len(served.waiting) > queueLimit)
	if errors.Is(err, errSaid) {
		sent := sentOf(said, served.id)
		sent.IsReplayed = true
		return sent, nil
	}
	if err != nil {
		return Sent{}, err
	}
	served.isUsed.Store(true)
	served.waiting = append(served.waiting, said)
	if !served.isAnswered {
		served.isAnswered = true
		c.visits.answering.Go(func() { c.answerVisit(served) })
	}
	return sentOf(said, served.id), nil
}

func sentOf(said turn, visit uuid.UUID) Sent {
	return Sent{ConversationID: visit, MessageID: said.ID, Seq: said.Seq, CreatedAt: said.CreatedAt}
}

// errSaid is that a client has sent a message before.
var errSaid = errors.New("it was said before")

// say adds a turn to the visit and tells who watches; with errSaid it returns the one
// that the client has sent before. The caller holds the lock.
func (c *Chat) say(ctx context.Context, served *visiting, asked turn, isFull bool) (said turn, err error) {
	err = c.visits.store.change(ctx, served.id, func(seen *visit) error {
		before, isSaid := seen.sent(asked.ClientID)
		switch {
		case isSaid:
			said = before
			return errSaid
		case isFull:
			return queueFull()
		}
		said = seen.say(asked)
		return nil
	})
	if err != nil {
		return said, err
	}
	if said.Seq == served.lastSeq+1 {
		served.lastSeq = said.Seq
	} else {
		c.hints.noteVisit(served.id) // others have spoken elsewhere
	}
	message := said.message(served.id)
	c.publish(served.id, &Event{Message: &message})
	return said, nil
}

// answerVisit answers the questions that wait, in their order.
func (c *Chat) answerVisit(served *visiting) {
	ctx := context.WithoutCancel(c.replying) // what is written when the server stops is still said
	for {
		served.mu.Lock()
		var seen visit
		var err error
		if len(served.waiting) > 0 {
			seen, err = c.visits.store.read(ctx, served.id, false)
		}
		if len(served.waiting) == 0 || err != nil {
			served.waiting, served.isAnswered = nil, false
			served.mu.Unlock()
			return
		}
		question := seen.question(served.bot, served.waiting[0])
		served.mu.Unlock()
		c.answerTurn(ctx, served, question)
	}
}

// answerTurn has the bot answer the first question that waits.
func (c *Chat) answerTurn(ctx context.Context, served *visiting, question bot.Question) {
	reply := newReply(newID(), served.id, newID())
	c.written.begin(c.link, reply, 1)
	defer c.written.end(reply, 1)
	c.publishHere(served.id, &Event{Reply: reply})
	c.tellVisit(served.id, reply.RunID, isBegun)
	answer, err := c.respondToVisit(question, reply)
	outcome := judge(reply.written(), answer, err)
	if err != nil {
		c.log.Error("a visitor's reply failed", "visit_id", served.id, "error", err)
	}
	served.mu.Lock()
	defer served.mu.Unlock()
	served.waiting = served.waiting[1:]
	reply.end(1, outcome)
	if outcome.Content == "" {
		c.tellVisit(served.id, reply.RunID, isSilent)
		return
	}
	_, err = c.say(ctx, served, turn{
		ID:          reply.MessageID,
		Sender:      "bot",
		Content:     outcome.Content,
		Citations:   toJSON(answer.Citations),
		Suggestions: toJSON(answer.Suggestions),
		RunID:       &reply.RunID,
	}, false)
	if err != nil && !apperr.Is(err, apperr.NotFound) {
		c.log.Error("a visitor's reply could not be kept", "visit_id", served.id, "error", err)
	}
}

// respondToVisit has the bot answer when its turn has come.
func (c *Chat) respondToVisit(question bot.Question, reply *Reply) (bot.Answer, error) {
	select {
	case c.visits.slots <- struct{}{}:
		defer func() { <-c.visits.slots }()
	case <-c.replying.Done():
		return bot.Answer{}, context.Cause(c.replying)
	}
	// It may have been changed, or deleted, since the visit began.
	asked, err := c.bots.GetByID(c.replying, question.Bot.OrganizationID, question.Bot.ID)
	if err != nil {
		return bot.Answer{}, err
	}
	question.Bot = asked
	return c.bots.Respond(c.replying, question, func(delta string) error {
		reply.grow(1, delta)
		c.written.grew(reply.RunID)
		return context.Cause(c.replying)
	})
}

// visitWarning is how long before a visit ends its watchers are told: in the half of its
// time at the earliest.
const visitWarning = time.Minute

func warningOf(ttl time.Duration) time.Duration { return min(visitWarning, ttl/2) }

// endVisits ends the visits that have been idle for their time, and tells of those whose
// time is nearly over.
func (c *Chat) endVisits(ctx context.Context) {
	for _, served := range c.visits.all() {
		end, isOver := c.visits.store.end(ctx, served.id)
		switch {
		case isOver:
			c.visits.leave(served.id)
			c.events.Publish(served.id, &Event{IsExpired: true})
		case time.Until(end) <= warningOf(c.visits.ttl) && end.Sub(served.warned) > time.Second/2:
			served.warned = end
			c.events.Publish(served.id, &Event{ExpiresAt: &end})
		}
	}
}
