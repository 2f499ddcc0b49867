// Package audit keeps the audit trail of an organization: who created, changed or revoked API keys, deleted
// resources or exported records.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/store"
)

// Action is a recorded action: AuditAction in the API description.
type Action string

// The actions that are recorded.
const (
	KeyCreated          Action = "apiKey.created"
	KeyRevoked          Action = "apiKey.revoked"
	KeyUpdated          Action = "apiKey.updated"
	ConversationDeleted Action = "conversation.deleted"
	ContactDeleted      Action = "contact.deleted"
	ChatbotDeleted      Action = "chatbot.deleted"
	FAQDeleted          Action = "faq.deleted"
	WebChatDeleted      Action = "webChat.deleted"
	RecordsExported     Action = "records.exported"
)

// objectTypes maps an action to the type of the objects that its events refer to.
var objectTypes = map[Action]string{
	KeyCreated:          "apiKey",
	KeyRevoked:          "apiKey",
	KeyUpdated:          "apiKey",
	ConversationDeleted: "conversation",
	ContactDeleted:      "contact",
	ChatbotDeleted:      "chatbot",
	FAQDeleted:          "faq",
	WebChatDeleted:      "webChat",
	RecordsExported:     "chatbot",
}

// Actor is the API key that acts, its user, and the request.
type Actor struct {
	UserID    uuid.UUID
	KeyID     uuid.UUID
	RequestID string // the server's own
	// CallerRequestID is the caller's X-Request-Id, if it sent one. It is stored with the details.
	CallerRequestID string
	Address         string
}

type contextKey struct{}

// WithActor returns a context whose actions are attributed to an actor. Actions without an actor
// are attributed to the operator.
func WithActor(ctx context.Context, actor Actor) context.Context {
	return context.WithValue(ctx, contextKey{}, actor)
}

// Details describe an event beyond the ID of its object.
//
// INVARIANT: details never contain message texts or personal data, which must not survive a
// deletion.
type Details map[string]any

// Record adds an event for each of the objects.
//
// INVARIANT: q belongs to the transaction of the action, so that both are committed or neither.
func Record(ctx context.Context, q *db.Queries, organization uuid.UUID, action Action, details Details, objects ...uuid.UUID) error {
	event := db.InsertAuditEventsParams{
		OrganizationID: organization,
		Action:         string(action),
		ObjectType:     objectTypes[action],
		ObjectIds:      objects,
		Details:        []byte("{}"),
	}
	for range objects {
		event.Ids = append(event.Ids, store.NewID())
	}
	if actor, ok := ctx.Value(contextKey{}).(Actor); ok {
		event.UserID, event.KeyID = &actor.UserID, &actor.KeyID
		event.RequestID, event.Address = actor.RequestID, actor.Address
		if actor.CallerRequestID != "" {
			details = maps.Clone(details)
			if details == nil {
				details = Details{}
			}
			details["callerRequestId"] = actor.CallerRequestID
		}
	}
	if details != nil {
		var err error
		if event.Details, err = json.Marshal(details); err != nil {
			return fmt.Errorf("encode audit details: %w", err)
		}
	}
	if err := q.InsertAuditEvents(ctx, event); err != nil {
		return fmt.Errorf("record %s: %w", action, err)
	}
	return nil
}

// Trail lists recorded events.
type Trail struct{ store *store.Store }

// New returns the audit trail in a store.
func New(s *store.Store) *Trail { return &Trail{store: s} }

// Filter selects events by action, unless it is empty, and by time.
type Filter struct {
	Action        Action
	Since, Before time.Time
}

// List returns a page of an organization's events, newest first, and the total number of events
// that match the filter.
func (t *Trail) List(ctx context.Context, organization uuid.UUID, filter Filter, limit, offset int) ([]db.ListAuditEventsRow, int64, error) {
	total, err := t.store.CountAuditEvents(ctx, db.CountAuditEventsParams{
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
	return rows, total, err
}
