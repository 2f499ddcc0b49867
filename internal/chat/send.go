package chat

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/store"
)

// queueLimit is how many questions may wait behind the one that is being answered.
const queueLimit = 20

// storeTime bounds the storing of a message whose caller may have left.
const storeTime = 30 * time.Second

// Who is to answer a message.
const (
	replyAlways = "always" // a completion asks for the reply expressly
	replyAuto   = "auto"   // where the conversation has auto-reply on
	replyNever  = "never"
)

// Who speaks, as sender of a message.
const (
	byCaller = "" // the conversation's owner as user, anybody else as agent
	byUser   = "user"
	byAgent  = "agent"
)

// NewMessage is a message to be stored. JSON values are stored as they are.
type NewMessage struct {
	Content        string
	Attachments    []NewAttachment
	Metadata       json.RawMessage
	ContentPayload json.RawMessage
	QueryMetadata  json.RawMessage
	Canvas         json.RawMessage
	ContactID      *string               // who of the contacts speaks; nil: the conversation's
	IdempotencyKey *store.IdempotencyKey // the request's Idempotency-Key; nil: none
	ID             uuid.UUID             // given by who wants to know it beforehand; zero: made
}

// Sent is a stored message. As the answer to a repeated request it comes back from
// its JSON, without what only the first request has.
type Sent struct {
	ConversationID uuid.UUID
	MessageID      uuid.UUID
	Seq            int64
	CreatedAt      time.Time
	RunID          *uuid.UUID // the run that answers it; nil when none does
	IsReplayed     bool       `json:"-"` // an earlier request with the same key stored it
	Reply          *Reply     `json:"-"` // the reply as it grows; nil when none is written, or IsReplayed
	isRunning      bool       // it is this message's turn to be answered
	sender         string
}

// Send stores a message of the caller's in a conversation and has the bot answer
// it in its own time. Blank content needs an attachment.
func (c *Chat) Send(ctx context.Context, who auth.Principal, conversation string, message NewMessage) (Sent, error) {
	if err := message.mustSay("/content"); err != nil {
		return Sent{}, err
	}
	return c.send(ctx, who, conversation, message, sending{sender: byCaller, reply: replyAuto, attachments: "/attachments"})
}

// Post stores a message as the Chatbots family does: incoming from the contact, or
// outgoing from the staff, which takes the scope agent. One that says nothing is
// stored and not answered.
func (c *Chat) Post(ctx context.Context, who auth.Principal, conversation string, isOutgoing bool, message NewMessage) (Sent, error) {
	how := sending{sender: byUser, reply: replyAuto, attachments: "/attachments"}
	if isOutgoing {
		if !who.IsStaff() {
			return Sent{}, apperr.New(apperr.Forbidden, "Outgoing messages need the scope agent.")
		}
		how.sender = byAgent
	}
	if strings.TrimSpace(message.Content) == "" && len(message.Attachments) == 0 && message.Canvas == nil {
		how.reply = replyNever
	}
	if err := checkQueryMetadata(apperr.InvalidMessage, "/queryMetadata", message.QueryMetadata); err != nil {
		return Sent{}, err
	}
	return c.send(ctx, who, conversation, message, how)
}

// Complete stores a question and has the bot answer it at once: in the named
// conversation, which must be the bot's, or in a new one in the bot's API inbox. It
// refuses all that can be refused; from then on the reply belongs to the
// conversation. A repeat under the same key gets the reply of the run that the first
// request has begun.
func (c *Chat) Complete(ctx context.Context, who auth.Principal, botRef, conversation string, message NewMessage) (Sent, error) {
	asked, err := c.bots.Get(ctx, who.OrganizationID, botRef)
	if err != nil {
		return Sent{}, err
	}
	if !who.Bounds.AllowsBot(asked.ID) {
		return Sent{}, outOfBounds()
	}
	if err := message.mustSay("/message/content"); err != nil {
		return Sent{}, err
	}
	if err := checkQueryMetadata(apperr.InvalidMessage, "/message/queryMetadata", message.QueryMetadata); err != nil {
		return Sent{}, err
	}
	sent, err := c.ask(ctx, who, asked, conversation, message)
	if err != nil || !sent.IsReplayed {
		return sent, err
	}
	run, err := c.store.GetRun(ctx, who.OrganizationID, *sent.RunID)
	if err != nil {
		return Sent{}, apperr.Rephrase(err, apperr.NotFound, noRun)
	}
	sent.Reply, err = c.replyOf(ctx, run.Run)
	return sent, err
}

// ask sends the question of a completion; into a new conversation when none is named.
func (c *Chat) ask(ctx context.Context, who auth.Principal, asked db.Bot, conversation string, message NewMessage) (Sent, error) {
	how := sending{sender: byUser, reply: replyAlways, asked: &asked, attachments: "/message/attachments"}
	if conversation != "" {
		return c.send(ctx, who, conversation, message, how)
	}
	if err := mayBegin(who, asked.ID); err != nil {
		return Sent{}, err
	}
	prepared, err := c.prepare(ctx, who, newID(), message, how)
	if err != nil {
		return Sent{}, err
	}
	sent, err := c.deliverNew(ctx, who, prepared, asked)
	if sent.IsReplayed {
		message.IdempotencyKey.NotifyReplayed()
	}
	return sent, err
}

// Forget frees the key of a completion whose run is over and has failed, so that a
// repeat asks again. While the run goes on, in another attempt, and where the key was
// used anew meanwhile, it is left alone.
func (c *Chat) Forget(ctx context.Context, key *store.IdempotencyKey, run uuid.UUID) error {
	if key == nil {
		return nil
	}
	return c.store.DeleteIdempotencyKey(context.WithoutCancel(ctx), db.DeleteIdempotencyKeyParams{
		OrganizationID: key.OrganizationID, UserID: key.UserID, Scope: key.Scope, Key: key.Key, RunID: run,
	})
}

// mustSay refuses a message that says nothing.
func (m NewMessage) mustSay(content string) error {
	if strings.TrimSpace(m.Content) != "" || len(m.Attachments) > 0 {
		return nil
	}
	return apperr.Field(apperr.InvalidMessage, content, "must not be blank when there are no attachments")
}

// sending is how a message is sent.
type sending struct {
	sender      string
	reply       string
	asked       *db.Bot // the bot whose conversation it must be; nil: any
	attachments string  // where the request has them
}

// send stores a message in a conversation that exists.
func (c *Chat) send(ctx context.Context, who auth.Principal, conversation string, message NewMessage, how sending) (Sent, error) {
	sessionID, err := parseID(conversation, noConversation)
	if err != nil {
		return Sent{}, err
	}
	prepared, err := c.prepare(ctx, who, sessionID, message, how)
	if err != nil {
		return Sent{}, err
	}
	sent, err := c.deliver(ctx, prepared, how.asked, func(ctx context.Context, prepared db.SendMessageParams) (Sent, error) {
		return execute(ctx, c.queriesOf(prepared.OrganizationID, prepared.SessionID), who, prepared)
	})
	if sent.IsReplayed {
		message.IdempotencyKey.NotifyReplayed()
	}
	return sent, err
}

// queriesOf are those whose one-row statements lock nothing but a session: where many
// write at once they share their commits, which cost more than what is written.
func (c *Chat) queriesOf(organization, session uuid.UUID) *db.Queries {
	if !c.shortcuts.Send {
		return c.store.Queries
	}
	return c.store.GroupCommit(store.SessionKey{OrganizationID: organization, SessionID: session})
}

// prepare does all that can be done before the statement: it reads ids and looks
// up what the message names.
func (c *Chat) prepare(ctx context.Context, who auth.Principal, session uuid.UUID, message NewMessage, how sending) (db.SendMessageParams, error) {
	attachments, err := c.attach(ctx, who, how.attachments, message.Attachments)
	if err != nil {
		return db.SendMessageParams{}, err
	}
	var sender *uuid.UUID
	if message.ContactID != nil {
		contact, err := namedContact(ctx, c.store.Queries, who, "/message/sender", *message.ContactID)
		if err != nil {
			return db.SendMessageParams{}, err
		}
		sender = &contact.ID
	}
	prepared := db.SendMessageParams{
		OrganizationID: who.OrganizationID,
		SessionID:      session,
		UserID:         who.UserID,
		IsStaff:        who.IsStaff(),
		OnlySessionID:  idOrNil(who.Bounds.Conversation),
		OnlyBotID:      idOrNil(who.Bounds.Bot),
		OnlyContactID:  idOrNil(who.Bounds.Contact),
		Sender:         how.sender,
		SenderID:       sender,
		Reply:          how.reply,
		QueueLimit:     queueLimit,
		MessageID:      newID(),
		RunID:          newID(),
		ReplyID:        newID(),
		LeaseSeconds:   leaseSeconds,
		Content:        message.Content,
		Metadata:       message.Metadata,
		ContentPayload: message.ContentPayload,
		QueryMetadata:  message.QueryMetadata,
		Canvas:         message.Canvas,
		Attachments:    attachments,
	}
	if how.asked != nil {
		prepared.BotID = &how.asked.ID
	}
	if message.ID != uuid.Nil {
		prepared.MessageID = message.ID
	}
	if message.IdempotencyKey != nil {
		prepared.Scope, prepared.IdempotencyKey, prepared.RequestHash = message.IdempotencyKey.Scope, &message.IdempotencyKey.Key, message.IdempotencyKey.Hash
	}
	return prepared, nil
}

func idOrNil(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

// execute runs the statement and tells what was refused.
func execute(ctx context.Context, q *db.Queries, who auth.Principal, prepared db.SendMessageParams) (Sent, error) {
	row, err := q.SendMessage(ctx, prepared)
	if err != nil {
		return Sent{}, apperr.Rephrase(err, apperr.NotFound, noConversation)
	}
	switch row.Refusal {
	case "":
	case "forbidden":
		return Sent{}, apperr.New(apperr.Forbidden, "The conversation is somebody else's.")
	case "out_of_bounds":
		return Sent{}, outOfBounds()
	case "queue_full":
		// A repeat needs no place in the queue.
		if prepared.IdempotencyKey != nil {
			if sent, err := replay(ctx, q, who, prepared); !errors.Is(err, errForgotten) {
				return sent, err
			}
		}
		return Sent{}, queueFull()
	default: // another bot's conversation
		return Sent{}, apperr.New(apperr.NotFound, "The chatbot has no such conversation.")
	}
	if !row.IsSent {
		sent, err := replay(ctx, q, who, prepared)
		if errors.Is(err, errForgotten) {
			return execute(ctx, q, who, prepared)
		}
		return sent, err
	}
	sent := Sent{ConversationID: prepared.SessionID, MessageID: prepared.MessageID, Seq: row.Seq, CreatedAt: row.CreatedAt, sender: row.Sender}
	if row.IsAnswered {
		sent.RunID = &prepared.RunID
		sent.isRunning = row.RunState == "running"
	}
	return sent, nil
}

func queueFull() error {
	return &apperr.Error{
		Kind:       apperr.Unavailable,
		Message:    "Too many messages of this conversation wait for their answer; try again when some are answered.",
		RetryAfter: 2 * time.Second,
	}
}

// errForgotten is that a key was forgotten, its day being over, after it had been
// found in use: it is free again.
var errForgotten = errors.New("the key was forgotten meanwhile")

// replay answers a request whose Idempotency-Key was used before.
func replay(ctx context.Context, q *db.Queries, who auth.Principal, prepared db.SendMessageParams) (Sent, error) {
	used, err := q.GetIdempotencyKey(ctx, db.GetIdempotencyKeyParams{
		OrganizationID: who.OrganizationID,
		UserID:         who.UserID,
		Scope:          prepared.Scope,
		Key:            *prepared.IdempotencyKey,
	})
	if apperr.Is(err, apperr.NotFound) {
		return Sent{}, errForgotten
	}
	if err != nil {
		return Sent{}, err
	}
	key := store.IdempotencyKey{Hash: prepared.RequestHash}
	if err := key.CheckHash(used.RequestHash); err != nil {
		return Sent{}, err
	}
	// INVARIANT: no scope is both a message's and one of store.Idempotent, so there is a message.
	stored, err := q.GetMessage(ctx, who.OrganizationID, *used.MessageID)
	if err != nil {
		return Sent{}, apperr.Rephrase(err, apperr.NotFound, noMessage)
	}
	message := stored.Message
	return Sent{
		ConversationID: message.SessionID,
		MessageID:      message.ID,
		Seq:            message.Seq,
		CreatedAt:      message.CreatedAt,
		RunID:          used.RunID,
		IsReplayed:     true,
	}, nil
}

// deliver runs what stores the message and, after the commit, has it answered. The
// reply is there before the commit: a queued one may be begun at once by whoever
// ends the one before it. asked is the bot, where it has been read.
func (c *Chat) deliver(ctx context.Context, prepared db.SendMessageParams, asked *db.Bot, store func(context.Context, db.SendMessageParams) (Sent, error)) (Sent, error) {
	// What may be committed is told and answered, even when its caller leaves meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	prepared.CanStart = prepared.Reply != replyNever && c.slots.take(prepared.OrganizationID)
	reply := c.live.add(prepared.OrganizationID, prepared.RunID, prepared.SessionID, prepared.ReplyID)
	sent, err := store(ctx, prepared)
	if errors.Is(err, context.DeadlineExceeded) && apperr.Is(err, apperr.Internal) {
		err = &apperr.Error{Kind: apperr.Unavailable, Message: "The message could not be stored in time.", RetryAfter: time.Second, Err: err}
	}
	c.tally.note(sent, err)
	switch isBegun := err == nil && sent.isRunning; {
	case prepared.CanStart && !isBegun:
		c.slots.release(prepared.OrganizationID)
	case !prepared.CanStart && prepared.Reply != replyNever:
		c.slots.call() // a slot was refused: is there anybody who waits for it?
	}
	c.doubts.note(prepared, err)
	if err != nil || sent.IsReplayed {
		c.live.drop(prepared.RunID)
		return sent, err
	}
	c.publish(prepared.SessionID, &Event{Message: &db.Message{
		OrganizationID: prepared.OrganizationID,
		ID:             prepared.MessageID,
		SessionID:      prepared.SessionID,
		Seq:            sent.Seq,
		Sender:         sent.sender,
		Content:        prepared.Content,
		Metadata:       prepared.Metadata,
		Attachments:    prepared.Attachments,
		RunID:          sent.RunID,
		CreatedAt:      sent.CreatedAt,
	}})
	if sent.RunID == nil {
		c.live.remove(prepared.RunID)
		return sent, nil
	}
	sent.Reply = reply
	if !sent.isRunning {
		c.live.await(prepared.RunID)
		return sent, nil
	}
	go c.answer(task{ // Close waits for its slot
		organizationID: prepared.OrganizationID,
		sessionID:      prepared.SessionID,
		runID:          prepared.RunID,
		attempt:        1,
		reply:          reply,
		asked:          asked,
		question:       prepared.Content,
		queryMetadata:  prepared.QueryMetadata,
		isAlone:        sent.Seq == 1 && prepared.Attachments == nil,
		askedAt:        sent.CreatedAt,
		origin:         c.traces.ParentOf(ctx),
	})
	return sent, nil
}
