package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/feed"
	"parley/internal/reply"
	"parley/internal/run"
	"parley/internal/store"
)

// storeTime bounds the time for storing a message whose caller may have disconnected.
const storeTime = 30 * time.Second

// Whether a message is answered.
const (
	replyAlways = "always" // a completion always has a reply
	replyAuto   = "auto"   // if the conversation has auto-reply on
	replyNever  = "never"
)

// The sender of a message.
const (
	senderCaller = "" // user for the conversation's owner, agent for others
	senderUser   = "user"
	senderAgent  = "agent"
)

// NewMessage is a message to be stored. JSON values are stored as they are.
type NewMessage struct {
	Content        string
	Attachments    []NewAttachment
	Metadata       json.RawMessage
	ContentPayload json.RawMessage
	QueryMetadata  json.RawMessage
	Canvas         json.RawMessage
	ContactID      *string               // the contact who speaks; nil: the conversation's
	IdempotencyKey *store.IdempotencyKey // nil: none
	ID             uuid.UUID             // zero: generated
}

// Sent is a stored message. It is stored as JSON for repeats of an idempotent request.
type Sent struct {
	ConversationID uuid.UUID
	MessageID      uuid.UUID
	Seq            int64
	CreatedAt      time.Time
	RunID          *uuid.UUID   // the run that answers it; nil if none does
	IsReplayed     bool         `json:"-"` // an earlier request with the same key stored it
	Reply          *reply.Reply `json:"-"` // nil if there is no run, or a message is replayed
	isRunning      bool         // the run may start at once
	sender         string
}

// Send stores a message of the caller in a conversation and has the bot answer it in the
// background. Blank content needs an attachment.
func (c *Chat) Send(ctx context.Context, caller auth.Principal, conversation string, message NewMessage) (Sent, error) {
	if err := message.checkContent("/content"); err != nil {
		return Sent{}, err
	}
	return c.send(ctx, caller, conversation, message, delivery{sender: senderCaller, reply: replyAuto, content: "/content", attachments: "/attachments"})
}

// Post stores a message for the API family Chatbots: incoming from the contact, or outgoing from the
// staff, which requires the scope agent. A message without content is stored but not answered.
func (c *Chat) Post(ctx context.Context, caller auth.Principal, conversation string, isOutgoing bool, message NewMessage) (Sent, error) {
	how := delivery{sender: senderUser, reply: replyAuto, content: "/content", attachments: "/attachments"}
	if isOutgoing {
		if !caller.IsStaff() {
			return Sent{}, apperr.New(apperr.Forbidden, "Only a caller with the scope agent can send outgoing messages.")
		}
		how.sender = senderAgent
	}
	if strings.TrimSpace(message.Content) == "" && len(message.Attachments) == 0 && message.Canvas == nil {
		how.reply = replyNever
	}
	if err := bot.CheckQueryMetadata(apperr.InvalidMessage, "/queryMetadata", message.QueryMetadata); err != nil {
		return Sent{}, err
	}
	return c.send(ctx, caller, conversation, message, how)
}

// checkContent returns an error if the message is blank and has no attachments. pointer is where
// the request has its content.
func (m NewMessage) checkContent(pointer string) error {
	if strings.TrimSpace(m.Content) != "" || len(m.Attachments) > 0 {
		return nil
	}
	return apperr.Field(apperr.InvalidMessage, pointer, "must not be blank when there are no attachments")
}

// ErrTooLong returns the error for a message with more characters than the limit. pointer is where the
// request has its content.
func ErrTooLong(pointer string, limit int) error {
	return &apperr.Error{
		Kind:       apperr.TooLarge,
		Message:    fmt.Sprintf("A message can have at most %d characters.", limit),
		Violations: []apperr.Violation{{In: "body", Pointer: pointer, Detail: fmt.Sprintf("must have at most %d characters", limit)}},
	}
}

// delivery is how a message is delivered.
type delivery struct {
	sender      string
	reply       string
	bot         *db.Bot // the bot of the conversation; nil: any
	content     string  // the pointer to the content in the request
	attachments string  // the pointer to the attachments
}

// send stores a message in an existing conversation.
func (c *Chat) send(ctx context.Context, caller auth.Principal, conversation string, message NewMessage, how delivery) (Sent, error) {
	sessionID, err := store.ParseID(conversation, noConversation)
	if err != nil {
		return Sent{}, err
	}
	params, err := c.prepare(ctx, caller, sessionID, message, how)
	if err != nil {
		return Sent{}, err
	}
	ctx, cancel := detach(ctx)
	defer cancel()
	claim := c.claim(&params)
	queries := c.store.GroupCommit(store.SessionKey{OrganizationID: params.OrganizationID, SessionID: params.SessionID})
	sent, err := insertMessage(ctx, queries, caller, params)
	sent, err = c.dispatch(ctx, claim, params, how.bot, sent, err)
	if sent.IsReplayed && how.reply != replyAlways {
		message.IdempotencyKey.NotifyReplayed()
	}
	return sent, err
}

// prepare parses IDs and reads the resources that the message refers to. It runs before the statement.
func (c *Chat) prepare(ctx context.Context, caller auth.Principal, session uuid.UUID, message NewMessage, how delivery) (db.SendMessageParams, error) {
	if utf8.RuneCountInString(message.Content) > c.maxContent {
		return db.SendMessageParams{}, ErrTooLong(how.content, c.maxContent)
	}
	attachments, err := c.attach(ctx, caller, how.attachments, message.Attachments)
	if err != nil {
		return db.SendMessageParams{}, err
	}
	var sender *uuid.UUID
	if message.ContactID != nil {
		contact, err := contactNamed(ctx, c.store.Queries, caller, "/message/sender", *message.ContactID)
		if err != nil {
			return db.SendMessageParams{}, err
		}
		sender = &contact.ID
	}
	params := db.SendMessageParams{
		OrganizationID: caller.OrganizationID,
		SessionID:      session,
		UserID:         caller.UserID,
		IsStaff:        caller.IsStaff(),
		OnlySessionID:  idOrNil(caller.Bounds.Conversation),
		OnlyBotID:      idOrNil(caller.Bounds.Bot),
		OnlyContactID:  idOrNil(caller.Bounds.Contact),
		Sender:         how.sender,
		SenderID:       sender,
		Reply:          how.reply,
		QueueLimit:     reply.QueueLimit,
		MessageID:      store.NewID(),
		RunID:          store.NewID(),
		ReplyID:        store.NewID(),
		LeaseSeconds:   run.LeaseSeconds,
		Content:        message.Content,
		Metadata:       message.Metadata,
		ContentPayload: message.ContentPayload,
		QueryMetadata:  message.QueryMetadata,
		Canvas:         message.Canvas,
		Attachments:    attachments,
	}
	if how.bot != nil {
		params.BotID = &how.bot.ID
	}
	if message.ID != uuid.Nil {
		params.MessageID = message.ID
	}
	if key := message.IdempotencyKey; key != nil {
		params.Scope, params.IdempotencyKey, params.RequestHash = key.Scope, &key.Key, key.Hash
	}
	return params, nil
}

func idOrNil(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

// detach returns a context that outlives the request: a message that may be committed must be published and answered
// even if the caller disconnects.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), storeTime)
}

// claim claims the slot and the reply for the run of a message. dispatch must follow.
func (c *Chat) claim(params *db.SendMessageParams) *run.Claim {
	claim := c.runs.Claim(*params, params.Reply != replyNever)
	params.CanStart = claim.HasSlot
	return claim
}

// dispatch runs after the commit. It publishes the message, and starts or queues its run. err is the error of storing
// the message, if that failed.
func (c *Chat) dispatch(ctx context.Context, claim *run.Claim, params db.SendMessageParams, owner *db.Bot, sent Sent, err error) (Sent, error) {
	if errors.Is(err, context.DeadlineExceeded) && apperr.Is(err, apperr.Internal) {
		err = &apperr.Error{Kind: apperr.Unavailable, Message: "The message could not be stored in time.", RetryAfter: time.Second, Err: err}
	}
	c.tally.countMessage(sent, err)
	if err != nil || sent.IsReplayed {
		claim.Abort(err)
		return sent, err
	}
	c.feed.Publish(params.SessionID, &feed.MessageStored{Message: &db.Message{
		OrganizationID: params.OrganizationID,
		ID:             params.MessageID,
		SessionID:      params.SessionID,
		Seq:            sent.Seq,
		Sender:         sent.sender,
		Content:        params.Content,
		Metadata:       params.Metadata,
		Attachments:    params.Attachments,
		RunID:          sent.RunID,
		CreatedAt:      sent.CreatedAt,
	}})
	switch {
	case sent.RunID == nil:
		claim.Abort(nil)
	case !sent.isRunning:
		sent.Reply = claim.Queue()
	default:
		sent.Reply = claim.Start(run.Question{
			Bot:            owner,
			Text:           params.Content,
			QueryMetadata:  params.QueryMetadata,
			IsFirstMessage: sent.Seq == 1 && params.Attachments == nil,
			AskedAt:        sent.CreatedAt,
			Parent:         c.traces.ParentOf(ctx),
		})
	}
	return sent, nil
}
