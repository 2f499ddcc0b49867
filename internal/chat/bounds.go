package chat

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
)

// Who comes with a client token or a bound ticket is let into no more than it is for.
// Every way into a conversation asks mayRead, or has SendMessage ask the same; every new
// conversation asks botFor and contactFor; and what goes over conversations that nobody
// names asks mustBeFree.

// mayRead tells whether the caller may read what belongs to a conversation.
func mayRead(who auth.Principal, of belonging) error {
	if of.owner != who.UserID && !who.IsStaff() {
		return apperr.New(apperr.Forbidden, "The conversation is somebody else's.")
	}
	if !who.Bounds.Allows(of.conversation, of.bot, of.contact) {
		return outOfBounds()
	}
	return nil
}

// belonging is what decides on who may read a conversation.
type belonging struct{ owner, conversation, bot, contact uuid.UUID }

func belongingOf(session db.Session) belonging {
	return belonging{owner: session.UserID, conversation: session.ID, bot: session.BotID, contact: session.ContactID}
}

func outOfBounds() error {
	return apperr.New(apperr.Forbidden, "The token or ticket is not for this.")
}

// mustBeFree refuses callers who are bound.
func mustBeFree(who auth.Principal) error {
	if who.IsBound() {
		return outOfBounds()
	}
	return nil
}

// botFor is the bot with which the caller begins a conversation: the one that is named,
// or else the one that the caller is bound to, or the organization's default bot.
func botFor(ctx context.Context, bots *bot.Bots, who auth.Principal, ref *string) (db.Bot, error) {
	if ref == nil && who.Bounds.Bot != uuid.Nil {
		ref = new(who.Bounds.Bot.String())
	}
	asked, err := askedBot(ctx, bots, who.OrganizationID, ref)
	if err != nil {
		return db.Bot{}, err
	}
	return asked, mayBegin(who, asked.ID)
}

// mayBegin tells whether the caller may begin a conversation with a bot.
func mayBegin(who auth.Principal, bot uuid.UUID) error {
	if who.Bounds.Conversation != uuid.Nil || !who.Bounds.AllowsBot(bot) {
		return outOfBounds()
	}
	return nil
}

// contactFor is the contact who speaks in a conversation that the caller begins: the one
// that the caller is bound to, else the caller's own.
func contactFor(ctx context.Context, q *db.Queries, who auth.Principal, inbox uuid.UUID) (db.Contact, error) {
	if who.Bounds.Contact == uuid.Nil {
		return ownContact(ctx, q, who, inbox)
	}
	bound, err := q.GetContact(ctx, who.OrganizationID, who.Bounds.Contact)
	if apperr.Is(err, apperr.NotFound) {
		return db.Contact{}, apperr.New(apperr.Forbidden, "The contact that the token is for is gone.")
	}
	return bound, err
}

// boundsOf are the bounds of what is for one conversation, whose bot and contact stay.
func boundsOf(session db.Session) auth.Bounds {
	return auth.Bounds{Conversation: session.ID, Bot: session.BotID, Contact: session.ContactID}
}

// Target names what a ticket or a client token is to be for; nil is not named.
type Target struct {
	Conversation *string
	BotRef       *string
	Contact      *string
}

// ForTicket is what a ticket of the caller's is for: a conversation that the caller may
// read, a bot, or all that is open to the caller.
func (c *Chat) ForTicket(who auth.Principal, target Target) auth.Bind {
	return func(ctx context.Context, q *db.Queries) (auth.Subject, error) {
		subject := auth.Subject{UserID: who.UserID}
		if target.Conversation != nil && target.BotRef != nil {
			return auth.Subject{}, apperr.New(apperr.InvalidRequest, "A ticket is for a conversation or for a chatbot, not for both.")
		}
		if target.Conversation != nil {
			session, err := sessionIn(ctx, q, who, *target.Conversation)
			subject.Bounds = boundsOf(session)
			return subject, err
		}
		if target.BotRef != nil {
			asked, err := c.bots.Within(q).Get(ctx, who.OrganizationID, *target.BotRef)
			subject.Bounds.Bot = asked.ID
			return subject, err
		}
		return subject, nil
	}
}

// ForToken is what a client token of the caller's is for: a conversation that the caller
// may read, in which its own user speaks; or the caller's conversations with a contact, a
// bot or both. A bot without a contact gets one, so that no two tokens share what is said.
func (c *Chat) ForToken(who auth.Principal, target Target) auth.Bind {
	return func(ctx context.Context, q *db.Queries) (auth.Subject, error) {
		if target.Conversation != nil {
			if target.BotRef != nil || target.Contact != nil {
				return auth.Subject{}, apperr.Field(apperr.InvalidRequest, "/conversation", "must stand alone, for it has its chatbot and contact")
			}
			session, err := sessionIn(ctx, q, who, *target.Conversation)
			return auth.Subject{UserID: session.UserID, Bounds: boundsOf(session)}, err
		}
		if target.BotRef == nil && target.Contact == nil {
			return auth.Subject{}, apperr.New(apperr.InvalidRequest, "A token is for a conversation, a contact or a chatbot, one of which must be named.")
		}
		subject := auth.Subject{UserID: who.UserID}
		if target.BotRef != nil {
			asked, err := c.bots.Within(q).Get(ctx, who.OrganizationID, *target.BotRef)
			if err != nil {
				return auth.Subject{}, err
			}
			subject.Bounds.Bot = asked.ID
		}
		if target.Contact != nil {
			contact, err := namedContact(ctx, q, who, "/contact", *target.Contact)
			subject.Bounds.Contact = contact.ID
			return subject, err
		}
		var err error
		subject.Bounds.Contact, err = newVisitor(ctx, q, who.OrganizationID, subject.Bounds.Bot)
		return subject, err
	}
}

// newVisitor makes a contact in a bot's API inbox for somebody of whom nothing is known.
func newVisitor(ctx context.Context, q *db.Queries, organization, botID uuid.UUID) (uuid.UUID, error) {
	inbox, err := q.GetAPIInbox(ctx, organization, botID)
	if err != nil {
		return uuid.Nil, err
	}
	id := newID()
	if err := q.CreateContact(ctx, db.CreateContactParams{OrganizationID: organization, ID: id, Name: "Visitor"}); err != nil {
		return uuid.Nil, err
	}
	return id, putInto(ctx, q, organization, id, []uuid.UUID{inbox.ID})
}
