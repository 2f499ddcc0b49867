package auth

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Scope is a permission of an API key.
type Scope string

// The scopes.
const (
	Chat         Scope = "chat"  // create and continue the user's own conversations
	Agent        Scope = "agent" // all conversations of the organization
	RecordsRead  Scope = "records:read"
	RecordsWrite Scope = "records:write"
	Manage       Scope = "manage" // chatbots, FAQs, web chats, inboxes, contacts
	Admin        Scope = "admin"  // everything, including API keys
)

// Principal is the authenticated caller: a user of an organization, with the scopes of an API key
// and the bounds of a client token or ticket.
type Principal struct {
	OrganizationID   uuid.UUID
	OrganizationName string
	UserID           uuid.UUID
	UserName         string
	KeyID            uuid.UUID // the API key, or the one that created the client token or ticket
	Scopes           []Scope
	ExpiresAt        *time.Time // of the key or token; nil: never
	Bounds           Bounds
	IsClientToken    bool
	Origin           string // the only origin that may use the client token; empty: any
	RateLimits       KeyLimits
}

// KeyLimits are limits of a single API key, in requests per minute. 0 means the limit of the rate limit class.
type KeyLimits struct{ Messages, History, List int }

// RateHolder returns who the requests of a principal are counted for: the visitor of a client token, a key with its
// own limits, or the user. The visitors of a user are also counted together, as within, so that their requests never
// use up the user's own limits.
func (p Principal) RateHolder() (id, within string) {
	switch {
	case p.IsClientToken && p.IsBound():
		return "token " + p.UserID.String() + " " + p.Bounds.String(), "tokens " + p.UserID.String()
	case p.RateLimits != KeyLimits{} && !p.IsClientToken:
		return "key " + p.KeyID.String(), ""
	}
	return p.UserID.String(), ""
}

// Has reports whether the principal has a scope. Admin includes all scopes.
func (p Principal) Has(scope Scope) bool {
	return slices.Contains(p.Scopes, scope) || slices.Contains(p.Scopes, Admin)
}

// IsAnonymous reports whether the caller is not authenticated.
func (p Principal) IsAnonymous() bool { return p.OrganizationID == uuid.Nil }

// IsStaff reports whether the principal may access all conversations of the organization.
func (p Principal) IsStaff() bool { return p.Has(Agent) }

// IsBound reports whether bounds restrict what the principal may access.
func (p Principal) IsBound() bool { return p.Bounds != Bounds{} }

// Bounds restrict a principal to the conversations that match every field that is set. The zero
// Bounds restrict nothing.
type Bounds struct {
	Conversation uuid.UUID
	Bot          uuid.UUID
	Contact      uuid.UUID
}

// Allows reports whether a conversation with that bot and contact is within the bounds.
func (b Bounds) Allows(conversation, bot, contact uuid.UUID) bool {
	return matches(b.Conversation, conversation) && b.AllowsBot(bot) && b.AllowsContact(contact)
}

// AllowsBot reports whether conversations with that bot can be within the bounds.
func (b Bounds) AllowsBot(bot uuid.UUID) bool { return matches(b.Bot, bot) }

// AllowsContact reports whether conversations with that contact can be within the bounds.
func (b Bounds) AllowsContact(contact uuid.UUID) bool { return matches(b.Contact, contact) }

func matches(bound, id uuid.UUID) bool { return bound == uuid.Nil || bound == id }

// String returns a text that identifies the bounds.
func (b Bounds) String() string {
	return fmt.Sprintf("conversation %s, bot %s, contact %s", b.Conversation, b.Bot, b.Contact)
}

// Purpose returns what the bounds are for, in the terms of x-client-tokens in the API description.
func (b Bounds) Purpose() string {
	switch {
	case b.Conversation != uuid.Nil:
		return "conversation"
	case b.Bot != uuid.Nil:
		return "chatbot"
	}
	return "contact"
}

type contextKey struct{}

// WithPrincipal returns a context that carries a principal.
func WithPrincipal(ctx context.Context, principal Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, principal)
}

// PrincipalOf returns the principal that the context carries. Without one it returns the zero
// Principal, which has no organization and no scope.
func PrincipalOf(ctx context.Context) Principal {
	principal, _ := ctx.Value(contextKey{}).(Principal)
	return principal
}
