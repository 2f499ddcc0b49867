package chat

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/inbox"
	"parley/internal/store"
)

// Target describes the bounds of a new ticket or client token. A nil field is not restricted.
type Target struct {
	Conversation *string
	BotRef       *string
	Contact      *string
}

// boundsOf returns the bounds of a token or ticket for one conversation. A conversation never changes
// its bot or contact.
func boundsOf(session db.Session) auth.Bounds {
	return auth.Bounds{Conversation: session.ID, Bot: session.BotID, Contact: session.ContactID}
}

// ForTicket binds a ticket to a conversation that the caller may read, to a bot, or to nothing
// beyond the caller's own access.
func (c *Chat) ForTicket(caller auth.Principal, target Target) auth.Bind {
	return func(ctx context.Context, q *db.Queries) (auth.Subject, error) {
		subject := auth.Subject{UserID: caller.UserID}
		if target.Conversation != nil && target.BotRef != nil {
			return auth.Subject{}, apperr.New(apperr.InvalidRequest, "A ticket may name a conversation or a chatbot, but not both.")
		}
		if target.Conversation != nil {
			session, err := readSession(ctx, q, caller, *target.Conversation)
			subject.Bounds = boundsOf(session)
			return subject, err
		}
		if target.BotRef != nil {
			found, err := c.bots.Within(q).Get(ctx, caller.OrganizationID, *target.BotRef)
			subject.Bounds.Bot = found.ID
			return subject, err
		}
		return subject, nil
	}
}

// ForToken binds a client token to a conversation that the caller may read, or to the caller's conversations with a
// contact, a bot, or both. Messages sent with a token of a conversation are those of the conversation's user. A bot
// without a contact gets a new contact, so that no two tokens share messages.
func (c *Chat) ForToken(caller auth.Principal, target Target) auth.Bind {
	return func(ctx context.Context, q *db.Queries) (auth.Subject, error) {
		if target.Conversation != nil {
			if target.BotRef != nil || target.Contact != nil {
				return auth.Subject{}, apperr.Field(apperr.InvalidRequest, "/conversation", "must be the only target, because it implies its chatbot and contact")
			}
			session, err := readSession(ctx, q, caller, *target.Conversation)
			return auth.Subject{UserID: session.UserID, Bounds: boundsOf(session)}, err
		}
		if target.BotRef == nil && target.Contact == nil {
			return auth.Subject{}, apperr.New(apperr.InvalidRequest, "A token must name a conversation, a contact, or a chatbot.")
		}
		subject := auth.Subject{UserID: caller.UserID}
		if target.BotRef != nil {
			found, err := c.bots.Within(q).Get(ctx, caller.OrganizationID, *target.BotRef)
			if err != nil {
				return auth.Subject{}, err
			}
			subject.Bounds.Bot = found.ID
		}
		if target.Contact != nil {
			contact, err := contactNamed(ctx, q, caller, "/contact", *target.Contact)
			subject.Bounds.Contact = contact.ID
			return subject, err
		}
		var err error
		subject.Bounds.Contact, err = createVisitor(ctx, q, caller.OrganizationID, subject.Bounds.Bot)
		return subject, err
	}
}

// createVisitor creates a contact without details in a bot's API inbox.
func createVisitor(ctx context.Context, q *db.Queries, organization, botID uuid.UUID) (uuid.UUID, error) {
	apiInbox, err := q.GetAPIInbox(ctx, organization, botID)
	if err != nil {
		return uuid.Nil, err
	}
	id := store.NewID()
	if err := q.CreateContact(ctx, db.CreateContactParams{OrganizationID: organization, ID: id, Name: "Visitor"}); err != nil {
		return uuid.Nil, err
	}
	return id, inbox.AddContact(ctx, q, organization, id, []uuid.UUID{apiInbox.ID})
}
