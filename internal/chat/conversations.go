package chat

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/auth"
	"parley/internal/inbox"
	"parley/internal/store"
)

// Conversation is a conversation with the related data that responses contain, and its newest message, or nil if it
// has none.
type Conversation struct {
	db.GetConversationRow
	LastMessage *db.Message
}

// Begin creates a conversation of the caller with a bot, by default the organization's default bot,
// and sends first if it is given. It does so once for an idempotency key, which covers both: first
// has no key of its own.
func (c *Chat) Begin(ctx context.Context, caller auth.Principal, botRef *string, first *NewMessage, key *store.IdempotencyKey) (Sent, error) {
	id := store.NewID()
	create := func(q *db.Queries) error {
		owner, err := botFor(ctx, c.bots.Within(q), caller, botRef)
		if err != nil {
			return err
		}
		return createConversation(ctx, q, caller, id, owner.ID, false)
	}
	if first == nil {
		return store.Idempotent(ctx, c.store, key, func(q *db.Queries) (Sent, error) { return Sent{ConversationID: id}, create(q) })
	}
	if strings.TrimSpace(first.Content) == "" {
		return Sent{}, apperr.Field(apperr.InvalidMessage, "/initial_message", "must not be blank")
	}
	params, err := c.prepare(ctx, caller, id, *first, delivery{sender: senderUser, reply: replyAuto, content: "/initial_message"})
	if err != nil {
		return Sent{}, err
	}
	ctx, cancel := detach(ctx)
	defer cancel()
	claim := c.claim(&params)
	sent, err := store.Idempotent(ctx, c.store, key, func(q *db.Queries) (Sent, error) {
		if err := create(q); err != nil {
			return Sent{}, err
		}
		return insertMessage(ctx, q, caller, params)
	})
	sent.IsReplayed = err == nil && sent.MessageID != params.MessageID
	return c.dispatch(ctx, claim, params, nil, sent, err)
}

// createConversation creates a conversation of the caller in a bot's API inbox. One that is implied
// by a socket is listed once it has a message.
func createConversation(ctx context.Context, q *db.Queries, caller auth.Principal, id, botID uuid.UUID, isImplied bool) error {
	apiInbox, err := q.GetAPIInbox(ctx, caller.OrganizationID, botID)
	if err != nil {
		return err
	}
	contact, err := contactFor(ctx, q, caller, apiInbox.ID)
	if err != nil {
		return err
	}
	_, err = q.CreateConversation(ctx, db.CreateConversationParams{
		OrganizationID: caller.OrganizationID,
		ID:             id,
		UserID:         caller.UserID,
		BotID:          botID,
		InboxID:        apiInbox.ID,
		ContactID:      contact.ID,
		IsImplied:      isImplied,
	})
	return err
}

// Create creates a conversation of the caller through a web chat, with the named contact or the
// caller's own, once for an idempotency key.
func (c *Chat) Create(ctx context.Context, caller auth.Principal, webChat string, contact *string, key *store.IdempotencyKey) (Conversation, error) {
	return store.Idempotent(ctx, c.store, key, func(q *db.Queries) (Conversation, error) {
		through, err := inbox.GetWebChat(ctx, q, caller.OrganizationID, webChat)
		if err != nil {
			return Conversation{}, err
		}
		if err := checkCreate(caller, through.BotID); err != nil {
			return Conversation{}, err
		}
		var with db.Contact
		if contact != nil {
			with, err = contactNamed(ctx, q, caller, "/contact", *contact)
		} else {
			with, err = contactFor(ctx, q, caller, through.InboxID)
		}
		if err != nil {
			return Conversation{}, err
		}
		created, err := q.CreateConversation(ctx, db.CreateConversationParams{
			OrganizationID: caller.OrganizationID,
			ID:             store.NewID(),
			UserID:         caller.UserID,
			BotID:          through.BotID,
			InboxID:        through.InboxID,
			ContactID:      with.ID,
		})
		if err != nil {
			return Conversation{}, err
		}
		return readConversation(ctx, q, created)
	})
}

// Get returns a conversation that the caller may read.
func (c *Chat) Get(ctx context.Context, caller auth.Principal, id string) (Conversation, error) {
	session, err := c.session(ctx, caller, id)
	if err != nil {
		return Conversation{}, err
	}
	return readConversation(ctx, c.store.Queries, session)
}

func readConversation(ctx context.Context, q *db.Queries, session db.Session) (Conversation, error) {
	row, err := q.GetConversation(ctx, session.OrganizationID, session.ID)
	if err != nil {
		return Conversation{}, apperr.Rephrase(err, apperr.NotFound, noConversation)
	}
	conversation := Conversation{GetConversationRow: row}
	if row.Session.LastSeq > 0 {
		last, err := q.GetMessageBySeq(ctx, session.OrganizationID, session.ID, row.Session.LastSeq)
		if err != nil {
			return Conversation{}, apperr.Rephrase(err, apperr.NotFound, noConversation)
		}
		conversation.LastMessage = &last
	}
	return conversation, nil
}

// Change is what Update changes. A nil field is left unchanged.
type Change struct {
	Status    *string
	Title     *string
	AutoReply *bool
}

// Update changes a conversation that the caller may read, and returns it.
func (c *Chat) Update(ctx context.Context, caller auth.Principal, id string, change Change) (Conversation, error) {
	session, err := c.session(ctx, caller, id)
	if err != nil {
		return Conversation{}, err
	}
	changed, err := c.store.UpdateConversation(ctx, db.UpdateConversationParams{
		OrganizationID: session.OrganizationID,
		ID:             session.ID,
		Status:         change.Status,
		Title:          change.Title,
		AutoReply:      change.AutoReply,
	})
	if err != nil {
		return Conversation{}, err
	}
	if changed == 0 {
		return Conversation{}, apperr.New(apperr.NotFound, noConversation)
	}
	return readConversation(ctx, c.store.Queries, session)
}

// Delete deletes a conversation that the caller may read, with its messages, runs, and records.
func (c *Chat) Delete(ctx context.Context, caller auth.Principal, id string) error {
	session, err := c.session(ctx, caller, id)
	if err != nil {
		return err
	}
	err = c.store.InTx(ctx, func(q *db.Queries) error {
		deleted, err := q.DeleteConversation(ctx, session.OrganizationID, session.ID)
		if err != nil {
			return err
		}
		if deleted == 0 {
			return apperr.New(apperr.NotFound, noConversation)
		}
		return audit.Record(ctx, q, session.OrganizationID, audit.ConversationDeleted, nil, session.ID)
	})
	if err == nil {
		c.feed.NotifyDeleted(session.ID)
	}
	return err
}

// Filter selects the caller's conversations that List returns.
type Filter struct {
	BotRef        *string
	Status        *string
	Limit, Offset int
}

// List returns a page of the caller's own conversations, latest activity first, and how many match.
func (c *Chat) List(ctx context.Context, caller auth.Principal, filter Filter) ([]db.ListConversationsRow, int64, error) {
	if err := checkUnbound(caller); err != nil {
		return nil, 0, err
	}
	var botID *uuid.UUID
	if filter.BotRef != nil {
		owner, err := c.bots.Get(ctx, caller.OrganizationID, *filter.BotRef)
		if err != nil {
			return nil, 0, err
		}
		botID = &owner.ID
	}
	total, err := c.store.CountConversations(ctx, db.CountConversationsParams{
		OrganizationID: caller.OrganizationID, UserID: caller.UserID, BotID: botID, Status: filter.Status,
	})
	if err != nil {
		return nil, 0, err
	}
	rows, err := c.store.ListConversations(ctx, db.ListConversationsParams{
		OrganizationID: caller.OrganizationID,
		UserID:         caller.UserID,
		BotID:          botID,
		Status:         filter.Status,
		PageLimit:      int32(filter.Limit),
		PageOffset:     int32(filter.Offset),
	})
	return rows, total, err
}
