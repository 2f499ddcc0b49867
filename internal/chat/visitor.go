package chat

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/bot"
	"parley/internal/fault"
)

const (
	// visitTurns is how many messages of a visit can be read again.
	visitTurns = 100
	// maxVisits bounds the memory that visits take.
	maxVisits = 10_000
)

// visits holds the anonymous visitors' conversations. Nothing of them is in the
// database: the bot is called directly, and what was said lives here, bounded, until
// the visit has been idle for its time.
type visits struct {
	ttl time.Duration
	// slots bounds the answers that are written at once; answering counts who writes.
	slots     chan struct{}
	answering sync.WaitGroup

	mu   sync.Mutex
	byID map[uuid.UUID]*visit
}

type visit struct {
	id  uuid.UUID
	bot db.Bot

	mu         sync.Mutex
	turns      []turn // the newest visitTurns
	lastSeq    int64
	lastTime   time.Time
	lastActive time.Time
	isWarned   bool   // that it will end, since it was active
	waiting    []turn // questions that have no answer yet; the first one is being answered
	isAnswered bool   // somebody works them off
	isOver     bool
}

// turn is a message of a visit, and the client's own id of it.
type turn struct {
	message  db.Message
	clientID string
}

// Visit begins an anonymous visit to the first organization's default bot, or
// continues one: NotFound where it is over or never was.
func (c *Chat) Visit(ctx context.Context, id, botRef *string) (*Watch, error) {
	if id != nil {
		visitID, err := parseID(*id, noVisit)
		if err != nil {
			return nil, err
		}
		found, err := c.visits.find(visitID)
		if err != nil {
			return nil, err
		}
		return c.watchVisit(found), nil
	}
	asked, err := c.visitedBot(ctx)
	if err != nil {
		return nil, err
	}
	if botRef != nil && *botRef != asked.Slug && *botRef != asked.ID.String() {
		return nil, fault.New(fault.Forbidden, "Without an API key only the default bot may be visited.")
	}
	begun, err := c.visits.begin(asked)
	if err != nil {
		return nil, err
	}
	return c.watchVisit(begun), nil
}

const noVisit = "There is no such visit; it may have ended."

// visitedBot is the default bot of the organization that was made first.
func (c *Chat) visitedBot(ctx context.Context) (db.Bot, error) {
	first, err := c.store.GetFirstOrganization(ctx)
	if err != nil {
		return db.Bot{}, fault.Say(err, fault.NotFound, "There is nothing to visit.")
	}
	return c.bots.Default(ctx, first.ID)
}

func (v *visits) begin(asked db.Bot) (*visit, error) {
	begun := &visit{id: newID(), bot: asked, lastActive: time.Now()}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.byID) >= maxVisits {
		return nil, &fault.Error{Kind: fault.Unavailable, Message: "Too many visits are going on; try again later.", RetryAfter: time.Minute}
	}
	if v.byID == nil {
		v.byID = make(map[uuid.UUID]*visit)
	}
	v.byID[begun.id] = begun
	return begun, nil
}

func (v *visits) find(id uuid.UUID) (*visit, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	found := v.byID[id]
	if found == nil || !found.touch() {
		return nil, fault.New(fault.NotFound, noVisit)
	}
	return found, nil
}

// touch notes activity; false when the visit is over.
func (v *visit) touch() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lastActive, v.isWarned = time.Now(), false
	return !v.isOver
}

func (c *Chat) watchVisit(seen *visit) *Watch {
	subscription := c.events.Subscribe(seen.id)
	seen.mu.Lock()
	defer seen.mu.Unlock()
	return &Watch{
		Subscription: subscription,
		SessionID:    seen.id,
		Bot:          seen.bot,
		LastSeq:      seen.lastSeq,
		IsAnonymous:  true,
		ExpiresAt:    new(seen.lastActive.Add(c.visits.ttl)),
		leave:        func() {},
		since:        seen.since,
		send: func(_ context.Context, message NewMessage) (Sent, error) {
			return c.sendVisit(seen, message)
		},
	}
}

func (v *visit) since(_ context.Context, after int64) ([]db.Message, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var found []db.Message
	for _, one := range v.turns {
		if one.message.Seq > after {
			found = append(found, one.message)
		}
	}
	return found, nil
}

// sendVisit takes a visitor's message and has the bot answer it, one after the
// other.
func (c *Chat) sendVisit(seen *visit, message NewMessage) (Sent, error) {
	if err := message.mustSay("/content"); err != nil {
		return Sent{}, err
	}
	if len(message.Attachments) > 0 {
		return Sent{}, fault.New(fault.Forbidden, "Without an API key no attachments can be sent.")
	}
	clientID := ""
	if message.Once != nil {
		clientID = message.Once.Key
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if seen.isOver {
		return Sent{}, fault.New(fault.NotFound, noVisit)
	}
	if i := slices.IndexFunc(seen.turns, func(one turn) bool { return clientID != "" && one.clientID == clientID }); i >= 0 {
		sent := sentOf(seen.turns[i].message)
		sent.IsReplayed = true
		return sent, nil
	}
	if len(seen.waiting) > queueLimit {
		return Sent{}, queueFull()
	}
	asked := seen.say(c, db.Message{ID: message.ID, Sender: byUser, Content: message.Content, Metadata: message.Metadata}, clientID)
	seen.waiting = append(seen.waiting, asked)
	if !seen.isAnswered {
		seen.isAnswered = true
		c.visits.answering.Go(func() { c.answerVisit(seen) })
	}
	return sentOf(asked.message), nil
}

func sentOf(message db.Message) Sent {
	return Sent{ConversationID: message.SessionID, MessageID: message.ID, Seq: message.Seq, CreatedAt: message.CreatedAt}
}

// say adds a message to the visit and tells who watches. The caller holds the lock.
func (v *visit) say(c *Chat, message db.Message, clientID string) turn {
	now := time.Now().Truncate(time.Microsecond)
	if !now.After(v.lastTime) {
		now = v.lastTime.Add(time.Microsecond)
	}
	v.lastSeq++
	v.lastTime, v.lastActive, v.isWarned = now, time.Now(), false
	if message.ID == uuid.Nil {
		message.ID = newID()
	}
	message.SessionID, message.Seq, message.CreatedAt = v.id, v.lastSeq, now
	said := turn{message: message, clientID: clientID}
	v.turns = append(v.turns, said)
	if len(v.turns) > visitTurns {
		v.turns = slices.Clone(v.turns[1:])
	}
	c.events.Publish(v.id, &Event{Message: &said.message})
	return said
}

// answerVisit answers the questions that wait, in their order.
func (c *Chat) answerVisit(seen *visit) {
	for {
		seen.mu.Lock()
		if len(seen.waiting) == 0 || seen.isOver {
			seen.isAnswered = false
			seen.mu.Unlock()
			return
		}
		question := seen.question(seen.waiting[0].message)
		seen.mu.Unlock()

		reply := newReply(newID(), seen.id, newID())
		c.events.Publish(seen.id, &Event{Reply: reply})
		answer, err := c.respondToVisit(question, reply)
		outcome := judge(reply.written(), answer, err)
		if err != nil {
			c.log.Error("a visitor's reply failed", "visit_id", seen.id, "error", err)
		}
		reply.end(1, outcome)

		seen.mu.Lock()
		seen.waiting = seen.waiting[1:]
		if outcome.Content != "" {
			seen.say(c, db.Message{
				ID:          reply.MessageID,
				Sender:      "bot",
				Content:     outcome.Content,
				Citations:   toJSON(answer.Citations),
				Suggestions: toJSON(answer.Suggestions),
				RunID:       &reply.RunID,
			}, "")
		}
		seen.mu.Unlock()
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
	return c.bots.Respond(c.replying, question, func(delta string) error {
		reply.grow(1, delta)
		return context.Cause(c.replying)
	})
}

// visitWarning is how long before a visit ends its watchers are told: in the half of its
// time at the earliest.
const visitWarning = time.Minute

// endVisits ends the visits that have been idle for their time, and tells of those whose
// time is nearly over.
func (c *Chat) endVisits(now time.Time) {
	c.visits.mu.Lock()
	defer c.visits.mu.Unlock()
	for id, one := range c.visits.byID {
		one.mu.Lock()
		one.isOver = now.Sub(one.lastActive) >= c.visits.ttl
		if one.isOver {
			delete(c.visits.byID, id)
			c.events.Publish(id, &Event{IsExpired: true})
		} else if end := one.lastActive.Add(c.visits.ttl); !one.isWarned && end.Sub(now) <= min(visitWarning, c.visits.ttl/2) {
			one.isWarned = true
			c.events.Publish(id, &Event{ExpiresAt: &end})
		}
		one.mu.Unlock()
	}
}
