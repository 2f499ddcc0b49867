package chat

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/store"
)

// A client token or a bound ticket gives access only within its bounds:
//   - Operations that read a conversation call checkRead, or SendMessage, which makes the same checks.
//   - Operations that create a conversation call botFor or checkCreate, and contactFor.
//   - Operations on several conversations call checkUnbound.

// ownership is the part of a conversation that decides who may read it.
type ownership struct{ owner, conversation, bot, contact uuid.UUID }

func ownershipOf(session db.Session) ownership {
	return ownership{owner: session.UserID, conversation: session.ID, bot: session.BotID, contact: session.ContactID}
}

// checkRead returns an error unless the caller may read the conversation.
func checkRead(caller auth.Principal, of ownership) error {
	if of.owner != caller.UserID && !caller.IsStaff() {
		return errForeign()
	}
	if !caller.Bounds.Allows(of.conversation, of.bot, of.contact) {
		return errOutOfBounds()
	}
	return nil
}

func errForeign() error {
	return apperr.New(apperr.Forbidden, "The conversation belongs to another user.")
}

func errOutOfBounds() error {
	return apperr.New(apperr.Forbidden, "The token or ticket is restricted to other conversations, chatbots or contacts.")
}

// checkUnbound returns an error if the caller is bound.
func checkUnbound(caller auth.Principal) error {
	if caller.IsBound() {
		return errOutOfBounds()
	}
	return nil
}

// checkCreate returns an error unless the caller may create a conversation with a bot.
func checkCreate(caller auth.Principal, botID uuid.UUID) error {
	if caller.Bounds.Conversation != uuid.Nil || !caller.Bounds.AllowsBot(botID) {
		return errOutOfBounds()
	}
	return nil
}

// botFor returns the bot of a conversation that the caller creates: the named one, or the one that
// the caller is bound to, or the organization's default bot.
func botFor(ctx context.Context, bots *bot.Bots, caller auth.Principal, ref *string) (db.Bot, error) {
	if ref == nil && caller.Bounds.Bot != uuid.Nil {
		ref = new(caller.Bounds.Bot.String())
	}
	var found db.Bot
	var err error
	if ref == nil {
		found, err = bots.Default(ctx, caller.OrganizationID)
	} else {
		found, err = bots.Get(ctx, caller.OrganizationID, *ref)
	}
	if err != nil {
		return db.Bot{}, err
	}
	return found, checkCreate(caller, found.ID)
}

// contactFor returns the contact of a conversation that the caller creates in an inbox: the one
// that the caller is bound to, or the caller's own.
func contactFor(ctx context.Context, q *db.Queries, caller auth.Principal, inboxID uuid.UUID) (db.Contact, error) {
	if caller.Bounds.Contact == uuid.Nil {
		own, err := q.UpsertUserContact(ctx, db.UpsertUserContactParams{
			OrganizationID: caller.OrganizationID,
			ID:             store.NewID(),
			InboxID:        inboxID,
			UserID:         &caller.UserID,
			Name:           caller.UserName,
		})
		return db.Contact(own), err
	}
	bound, err := q.GetContact(ctx, caller.OrganizationID, caller.Bounds.Contact)
	if apperr.Is(err, apperr.NotFound) {
		return db.Contact{}, apperr.New(apperr.Forbidden, "The contact that the token is bound to was deleted.")
	}
	return bound, err
}

// contactNamed returns a contact that the request names at pointer. It is Forbidden if the caller
// is bound to another one. An unknown contact is an invalid request (reference: "the Contact ID
// does not belong to the organization").
func contactNamed(ctx context.Context, q *db.Queries, caller auth.Principal, pointer, id string) (db.Contact, error) {
	unknown := apperr.Field(apperr.InvalidRequest, pointer, "must be a contact of the organization")
	contactID, err := store.ParseID(id, "")
	if err != nil {
		return db.Contact{}, unknown
	}
	contact, err := q.GetContact(ctx, caller.OrganizationID, contactID)
	if apperr.Is(err, apperr.NotFound) {
		return db.Contact{}, unknown
	}
	if err == nil && !caller.Bounds.AllowsContact(contact.ID) {
		err = errOutOfBounds()
	}
	return contact, err
}
