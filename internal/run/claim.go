package run

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/reply"
	"parley/internal/store"
	"parley/internal/trace"
)

// Claim is the slot and the reply of a run that is about to be inserted. The reply exists before the commit, because
// another goroutine may start a queued run as soon as it is committed. Every claim ends with exactly one call of
// Start, Queue, or Abort.
type Claim struct {
	// HasSlot reports whether the run may start immediately. Without a slot it must be queued.
	HasSlot bool

	d            *Dispatcher
	organization uuid.UUID
	session      uuid.UUID
	run          uuid.UUID
	wantsReply   bool
	reply        *reply.Reply
}

// Claim claims the slot and the reply for the run of a message. wantsReply is false if the message has no run.
func (d *Dispatcher) Claim(message db.SendMessageParams, wantsReply bool) *Claim {
	return &Claim{
		HasSlot:      wantsReply && d.slots.take(message.OrganizationID),
		d:            d,
		organization: message.OrganizationID,
		session:      message.SessionID,
		run:          message.RunID,
		wantsReply:   wantsReply,
		reply:        d.live.add(message.OrganizationID, message.RunID, message.SessionID, message.ReplyID),
	}
}

// Abort ends the claim of a run that was not inserted: either its message needs no reply, or storing
// the message failed with err. If err leaves the outcome of the commit unknown, the run is in doubt.
func (c *Claim) Abort(err error) {
	c.releaseSlot()
	if c.HasSlot && store.IsInDoubt(err) {
		c.d.inDoubt.add(c.run, c.organization)
	}
	c.d.live.drop(c.run)
}

// Queue ends the claim of a run that was committed as queued, and returns its reply.
func (c *Claim) Queue() *reply.Reply {
	c.releaseSlot()
	c.d.live.await(c.run)
	return c.reply
}

// releaseSlot releases an unused slot.
func (c *Claim) releaseSlot() {
	switch {
	case c.HasSlot:
		c.d.slots.release(c.organization)
	case c.wantsReply:
		c.d.slots.signal() // the queue must check which runs wait for the refused slot
	}
}

// Question is the message that a run answers.
type Question struct {
	Bot            *db.Bot // nil if it has yet to be read
	Text           string
	QueryMetadata  json.RawMessage
	IsFirstMessage bool // known to be the conversation's first message, without attachments
	AskedAt        time.Time
	Parent         trace.Parent
}

// Start ends the claim of a run that was committed as running: it has the bot answer in the
// background and returns the reply.
func (c *Claim) Start(question Question) *reply.Reply {
	go c.d.answer(attempt{ // Close waits for its slot
		organizationID: c.organization,
		sessionID:      c.session,
		runID:          c.run,
		number:         1,
		reply:          c.reply,
		bot:            question.Bot,
		question:       question.Text,
		queryMetadata:  question.QueryMetadata,
		isFirstMessage: question.IsFirstMessage,
		askedAt:        question.AskedAt,
		parent:         question.Parent,
	})
	return c.reply
}
