package chat

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/store"
)

// Conversation is a conversation with what is shown around it, and its newest
// message; nil while there is none.
type Conversation struct {
	db.GetConversationRow
	LastMessage *db.Message
}

// Begin opens a conversation of the caller's with a bot, the organization's default
// bot where none is named, and sends first where it is given, once for a key. The key
// is of both: first has none of its own.
func (c *Chat) Begin(ctx context.Context, who auth.Principal, botRef *string, first *NewMessage, key *store.IdempotencyKey) (Sent, error) {
	id := newID()
	begin := func(q *db.Queries) error {
		asked, err := botFor(ctx, c.bots.Within(q), who, botRef)
		if err != nil {
			return err
		}
		return open(ctx, q, who, id, asked.ID, false)
	}
	if first == nil {
		return store.Idempotent(ctx, c.store, key, func(q *db.Queries) (Sent, error) { return Sent{ConversationID: id}, begin(q) })
	}
	if strings.TrimSpace(first.Content) == "" {
		return Sent{}, apperr.Field(apperr.InvalidMessage, "/initial_message", "must not be blank")
	}
	prepared, err := c.prepare(ctx, who, id, *first, sending{sender: byUser, reply: replyAuto})
	if err != nil {
		return Sent{}, err
	}
	return c.deliver(ctx, prepared, nil, func(ctx context.Context, prepared db.SendMessageParams) (Sent, error) {
		sent, err := store.Idempotent(ctx, c.store, key, func(q *db.Queries) (Sent, error) {
			if err := begin(q); err != nil {
				return Sent{}, err
			}
			return execute(ctx, q, who, prepared)
		})
		sent.IsReplayed = err == nil && sent.MessageID != prepared.MessageID
		return sent, err
	})
}

// deliverNew opens the conversation that a prepared message begins, and sends it,
// both or neither.
func (c *Chat) deliverNew(ctx context.Context, who auth.Principal, prepared db.SendMessageParams, asked db.Bot) (Sent, error) {
	return c.deliver(ctx, prepared, &asked, func(ctx context.Context, prepared db.SendMessageParams) (sent Sent, err error) {
		err = c.store.InTx(ctx, func(q *db.Queries) error {
			if err := open(ctx, q, who, prepared.SessionID, asked.ID, false); err != nil {
				return err
			}
			sent, err = execute(ctx, q, who, prepared)
			if err == nil && sent.IsReplayed {
				return errReplayed
			}
			return err
		})
		if errors.Is(err, errReplayed) {
			err = nil
		}
		return sent, err
	})
}

// errReplayed takes back the conversation that a repeated request has opened again.
var errReplayed = errors.New("the key was used before")

// askedBot is the bot that is named, the organization's default bot where none is.
func askedBot(ctx context.Context, bots *bot.Bots, organization uuid.UUID, ref *string) (db.Bot, error) {
	if ref == nil {
		return bots.Default(ctx, organization)
	}
	return bots.Get(ctx, organization, *ref)
}

// open makes a conversation of the caller's in a bot's API inbox; an implied one is
// listed once it has a message.
func open(ctx context.Context, q *db.Queries, who auth.Principal, id, botID uuid.UUID, isImplied bool) error {
	inbox, err := q.GetAPIInbox(ctx, who.OrganizationID, botID)
	if err != nil {
		return err
	}
	contact, err := contactFor(ctx, q, who, inbox.ID)
	if err != nil {
		return err
	}
	_, err = q.CreateConversation(ctx, db.CreateConversationParams{
		OrganizationID: who.OrganizationID,
		ID:             id,
		UserID:         who.UserID,
		BotID:          botID,
		InboxID:        inbox.ID,
		ContactID:      contact.ID,
		IsImplied:      isImplied,
	})
	return err
}

// ownContact returns the contact that stands for the caller in an inbox.
func ownContact(ctx context.Context, q *db.Queries, who auth.Principal, inbox uuid.UUID) (db.Contact, error) {
	own, err := q.UpsertUserContact(ctx, db.UpsertUserContactParams{
		OrganizationID: who.OrganizationID,
		ID:             newID(),
		InboxID:        inbox,
		UserID:         &who.UserID,
		Name:           who.UserName,
	})
	return db.Contact(own), err
}

// Create opens a conversation of the caller's through a web chat, with the named
// contact or the caller's own, once for a key.
func (c *Chat) Create(ctx context.Context, who auth.Principal, webChat string, contact *string, key *store.IdempotencyKey) (Conversation, error) {
	return store.Idempotent(ctx, c.store, key, func(q *db.Queries) (Conversation, error) {
		door, err := getWebChat(ctx, q, who.OrganizationID, webChat)
		if err != nil {
			return Conversation{}, err
		}
		if err := mayBegin(who, door.BotID); err != nil {
			return Conversation{}, err
		}
		var with db.Contact
		if contact != nil {
			with, err = namedContact(ctx, q, who, "/contact", *contact)
		} else {
			with, err = contactFor(ctx, q, who, door.InboxID)
		}
		if err != nil {
			return Conversation{}, err
		}
		made, err := q.CreateConversation(ctx, db.CreateConversationParams{
			OrganizationID: who.OrganizationID,
			ID:             newID(),
			UserID:         who.UserID,
			BotID:          door.BotID,
			InboxID:        door.InboxID,
			ContactID:      with.ID,
		})
		if err != nil {
			return Conversation{}, err
		}
		return c.view(ctx, q, made)
	})
}

// namedContact returns a contact of the organization, named at pointer in the request:
// Forbidden where the caller is bound to another one. One that there is not is invalid
// there (reference: "the Contact ID does not belong to the organization").
func namedContact(ctx context.Context, q *db.Queries, who auth.Principal, pointer, id string) (db.Contact, error) {
	unknown := apperr.Field(apperr.InvalidRequest, pointer, "is no contact of the organization")
	contactID, err := parseID(id, "")
	if err != nil {
		return db.Contact{}, unknown
	}
	contact, err := q.GetContact(ctx, who.OrganizationID, contactID)
	if apperr.Is(err, apperr.NotFound) {
		return db.Contact{}, unknown
	}
	if err == nil && !who.Bounds.AllowsContact(contact.ID) {
		err = outOfBounds()
	}
	return contact, err
}

// Get returns a conversation that the caller may read.
func (c *Chat) Get(ctx context.Context, who auth.Principal, id string) (Conversation, error) {
	session, err := c.session(ctx, who, id)
	if err != nil {
		return Conversation{}, err
	}
	return c.view(ctx, c.store.Queries, session)
}

func (c *Chat) view(ctx context.Context, q *db.Queries, session db.Session) (Conversation, error) {
	row, err := q.GetConversation(ctx, c.shortcuts.Counts, session.OrganizationID, session.ID)
	if err != nil {
		return Conversation{}, apperr.Rephrase(err, apperr.NotFound, noConversation)
	}
	shown := Conversation{GetConversationRow: row}
	if row.Session.LastSeq > 0 {
		last, err := q.GetMessageBySeq(ctx, session.OrganizationID, session.ID, row.Session.LastSeq)
		if err != nil {
			return Conversation{}, apperr.Rephrase(err, apperr.NotFound, noConversation)
		}
		shown.LastMessage = &last
	}
	return shown, nil
}

// Change is what is to be different in a conversation; nil fields stay.
type Change struct {
	Status    *string
	Title     *string
	AutoReply *bool
}

// Update changes a conversation that the caller may read, and returns it.
func (c *Chat) Update(ctx context.Context, who auth.Principal, id string, change Change) (Conversation, error) {
	session, err := c.session(ctx, who, id)
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
	return c.view(ctx, c.store.Queries, session)
}

// Delete deletes a conversation that the caller may read, with all that is in it.
func (c *Chat) Delete(ctx context.Context, who auth.Principal, id string) error {
	session, err := c.session(ctx, who, id)
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
		c.tellDeleted(session.ID)
	}
	return err
}

// Filter says which of the caller's conversations are listed.
type Filter struct {
	BotRef        *string
	Status        *string
	Limit, Offset int
}

// List returns the caller's own conversations, latest activity first, and how many
// qualify in all.
func (c *Chat) List(ctx context.Context, who auth.Principal, filter Filter) ([]db.ListConversationsRow, int64, error) {
	if err := mustBeFree(who); err != nil {
		return nil, 0, err
	}
	var botID *uuid.UUID
	if filter.BotRef != nil {
		asked, err := c.bots.Get(ctx, who.OrganizationID, *filter.BotRef)
		if err != nil {
			return nil, 0, err
		}
		botID = &asked.ID
	}
	total, err := c.total(ctx, who.OrganizationID, who.UserID, botID, filter.Status)
	if err != nil {
		return nil, 0, err
	}
	rows, err := c.store.ListConversations(ctx, db.ListConversationsParams{
		OrganizationID: who.OrganizationID,
		UserID:         who.UserID,
		BotID:          botID,
		Status:         filter.Status,
		PageLimit:      int32(filter.Limit),
		PageOffset:     int32(filter.Offset),
	})
	return rows, total, err
}
