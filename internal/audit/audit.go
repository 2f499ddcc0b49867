// Package audit keeps an organization's audit trail: who made or revoked keys, deleted
// something, or took records away.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/store"
)

// Action is what was done, as the document's AuditAction has it.
type Action string

// The actions. What is not in here leaves no event.
const (
	KeyCreated          Action = "apiKey.created"
	KeyRevoked          Action = "apiKey.revoked"
	ConversationDeleted Action = "conversation.deleted"
	ContactDeleted      Action = "contact.deleted"
	ChatbotDeleted      Action = "chatbot.deleted"
	FAQDeleted          Action = "faq.deleted"
	WebChatDeleted      Action = "webChat.deleted"
	RecordsExported     Action = "records.exported"
)

// objectTypes tells what the ids of an action's events are of.
var objectTypes = map[Action]string{
	KeyCreated:          "apiKey",
	KeyRevoked:          "apiKey",
	ConversationDeleted: "conversation",
	ContactDeleted:      "contact",
	ChatbotDeleted:      "chatbot",
	FAQDeleted:          "faq",
	WebChatDeleted:      "webChat",
	RecordsExported:     "chatbot",
}

// Actor is who does something: a key, the user for whom it speaks, and the request in
// which it does so.
type Actor struct {
	UserID    uuid.UUID
	KeyID     uuid.UUID
	RequestID string
	Address   string
}

type contextKey struct{}

// WithActor returns a context in which what is noted was done by an actor. Without one
// it was the operator, beside the API.
func WithActor(ctx context.Context, actor Actor) context.Context {
	return context.WithValue(ctx, contextKey{}, actor)
}

// Details are what an event tells beyond the id of its object.
//
// INVARIANT: never what somebody said, or whom it was said to: what was deleted must not
// live on in here.
type Details map[string]any

// Record adds an event for each of some objects.
//
// INVARIANT: q is the transaction of what is noted, so that neither is without the other.
func Record(ctx context.Context, q *db.Queries, organization uuid.UUID, action Action, details Details, objects ...uuid.UUID) error {
	event := db.InsertAuditEventsParams{
		OrganizationID: organization,
		Action:         string(action),
		ObjectType:     objectTypes[action],
		ObjectIds:      objects,
		Details:        []byte("{}"),
	}
	for range objects {
		event.Ids = append(event.Ids, uuid.Must(uuid.NewV7()))
	}
	if actor, ok := ctx.Value(contextKey{}).(Actor); ok {
		event.UserID, event.KeyID = &actor.UserID, &actor.KeyID
		event.RequestID, event.Address = actor.RequestID, actor.Address
	}
	if details != nil {
		var err error
		if event.Details, err = json.Marshal(details); err != nil {
			return fmt.Errorf("write the details of an event: %w", err)
		}
	}
	if err := q.InsertAuditEvents(ctx, event); err != nil {
		return fmt.Errorf("note %s: %w", action, err)
	}
	return nil
}

// Trail reads what was noted.
type Trail struct{ store *store.Store }

// New returns the trail kept in s.
func New(s *store.Store) *Trail { return &Trail{store: s} }

// Filter says which events are wanted: of one action, where it is not empty, and of a
// time.
type Filter struct {
	Action        Action
	Since, Before time.Time
}

// List returns a page of an organization's events, newest first, and how many qualify
// in all.
func (t *Trail) List(ctx context.Context, organization uuid.UUID, filter Filter, limit, offset int) ([]db.ListAuditEventsRow, int64, error) {
	count, err := t.store.CountAuditEvents(ctx, db.CountAuditEventsParams{
		OrganizationID: organization, Action: string(filter.Action), Since: filter.Since, Before: filter.Before,
	})
	if err != nil {
		return nil, 0, err
	}
	rows, err := t.store.ListAuditEvents(ctx, db.ListAuditEventsParams{
		OrganizationID: organization,
		Action:         string(filter.Action),
		Since:          filter.Since,
		Before:         filter.Before,
		PageLimit:      int32(limit),
		PageOffset:     int32(offset),
	})
	return rows, count, err
}
