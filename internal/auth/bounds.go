package auth

import (
	"fmt"

	"github.com/google/uuid"
)

// Bounds are all that is open to a principal: the conversations that have everything
// which is named here. The zero Bounds name nothing, and bound nobody.
type Bounds struct {
	Conversation uuid.UUID
	Bot          uuid.UUID
	Contact      uuid.UUID
}

// IsBound tells whether not all is open to the caller that is open to its user.
func (p Principal) IsBound() bool { return p.Bounds != Bounds{} }

// Allows tells whether a conversation, with that bot and that contact, is within the bounds.
func (b Bounds) Allows(conversation, bot, contact uuid.UUID) bool {
	return isOrNone(b.Conversation, conversation) && b.AllowsBot(bot) && b.AllowsContact(contact)
}

// AllowsBot tells whether a conversation with that bot can be within the bounds.
func (b Bounds) AllowsBot(bot uuid.UUID) bool { return isOrNone(b.Bot, bot) }

// AllowsContact tells whether a conversation with that contact can be within the bounds.
func (b Bounds) AllowsContact(contact uuid.UUID) bool { return isOrNone(b.Contact, contact) }

func isOrNone(bound, id uuid.UUID) bool { return bound == uuid.Nil || bound == id }

// String tells bounds apart.
func (b Bounds) String() string {
	return fmt.Sprintf("conversation %s, bot %s, contact %s", b.Conversation, b.Bot, b.Contact)
}

// Purpose is what the bounds are for, as the document's x-client-tokens has it.
func (b Bounds) Purpose() string {
	switch {
	case b.Conversation != uuid.Nil:
		return "conversation"
	case b.Bot != uuid.Nil:
		return "chatbot"
	}
	return "contact"
}
