package chat

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/auth"
	"parley/internal/store"
)

// Operation is one thing to be done to a conversation.
type Operation struct {
	Action         string // archive, unarchive, delete or mark_read
	ConversationID string
}

// Outcomes is what became of the operations of a batch.
type Outcomes struct {
	RequestID string          // of the request that carried them out
	Refused   []*apperr.Error // of each why it could not be; nil where it could
}

// Batch carries out operations in their order, once for a key, and tells of each why
// it could not be: NotFound and Forbidden as elsewhere, which spoil nothing but their
// own. With an error of its own nothing was done. requestID is how the outcomes name
// the request, to its repeats too.
//
// The owner of a conversation marks it as read for the user, the staff for the
// staff, an owner who is of the staff for both.
func (c *Chat) Batch(ctx context.Context, who auth.Principal, requestID string, operations []Operation, key *store.IdempotencyKey) (Outcomes, error) {
	if err := mustBeFree(who); err != nil {
		return Outcomes{}, err
	}
	ids := make([]uuid.UUID, len(operations))
	malformed := make([]error, len(operations))
	for i, operation := range operations {
		ids[i], malformed[i] = parseID(operation.ConversationID, noConversation)
	}
	outcomes, err := store.Idempotent(ctx, c.store, key, func(q *db.Queries) (Outcomes, error) {
		found, err := q.LockConversations(ctx, who.OrganizationID, ids)
		if err != nil {
			return Outcomes{}, err
		}
		fates := make(map[uuid.UUID]*fate, len(found))
		for _, session := range found {
			fates[session.ID] = &fate{owner: session.UserID}
		}
		refused := make([]*apperr.Error, len(operations))
		for i, operation := range operations {
			err := malformed[i]
			if err == nil {
				err = fates[ids[i]].meet(who, operation.Action)
			}
			refused[i], _ = errors.AsType[*apperr.Error](err)
		}
		return Outcomes{RequestID: requestID, Refused: refused}, fulfil(ctx, q, who, fates)
	})
	for i, refusal := range outcomes.Refused {
		if refusal == nil && operations[i].Action == "delete" {
			c.tellDeleted(ids[i])
		}
	}
	return outcomes, err
}

// fate is what becomes of a conversation in a batch. It is decided under the
// session's lock, so that a batch of any length takes a few statements.
type fate struct {
	owner  uuid.UUID
	isGone bool
	isRead bool
	status string // empty: as it was
}

// meet adds an action, or tells why it cannot be.
func (f *fate) meet(who auth.Principal, action string) error {
	if f == nil || f.isGone {
		return apperr.New(apperr.NotFound, noConversation)
	}
	if err := mayRead(who, belonging{owner: f.owner}); err != nil {
		return err
	}
	switch action {
	case "archive":
		f.status = "archived"
	case "unarchive":
		f.status = "active"
	case "mark_read":
		f.isRead = true
	case "delete":
		f.isGone = true
	default:
		return apperr.New(apperr.InvalidRequest, "There is no such action.")
	}
	return nil
}

func fulfil(ctx context.Context, q *db.Queries, who auth.Principal, fates map[uuid.UUID]*fate) error {
	var gone, read []uuid.UUID
	status := make(map[string][]uuid.UUID)
	for id, f := range fates {
		switch {
		case f.isGone:
			gone = append(gone, id)
			continue
		case f.status != "":
			status[f.status] = append(status[f.status], id)
		}
		if f.isRead {
			read = append(read, id)
		}
	}
	for wanted, ids := range status {
		if err := q.SetConversationsStatus(ctx, wanted, who.OrganizationID, ids); err != nil {
			return err
		}
	}
	if len(read) > 0 {
		err := q.MarkConversationsRead(ctx, db.MarkConversationsReadParams{
			OrganizationID: who.OrganizationID, Ids: read, UserID: who.UserID, IsStaff: who.IsStaff(),
		})
		if err != nil {
			return err
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if err := q.DeleteConversations(ctx, who.OrganizationID, gone); err != nil {
		return err
	}
	return audit.Record(ctx, q, who.OrganizationID, audit.ConversationDeleted, nil, gone...)
}
