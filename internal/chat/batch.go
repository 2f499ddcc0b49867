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

// Operation is one operation of a batch on a conversation.
type Operation struct {
	Action         string // archive, unarchive, delete, or mark_read
	ConversationID string
}

// Outcomes is the result of a batch.
type Outcomes struct {
	RequestID string          // of the request that was executed first
	Refused   []*apperr.Error // by operation; nil for a successful operation
}

// Batch executes operations in order, once for an idempotency key. An operation that is NotFound or Forbidden does
// not affect the others. If Batch returns an error, nothing was changed. requestID is the request ID in the outcomes,
// also for repeats.
//
// Marking as read clears the owner's counter if the caller owns the conversation, and the staff's if the caller is
// staff.
func (c *Chat) Batch(ctx context.Context, caller auth.Principal, requestID string, operations []Operation, key *store.IdempotencyKey) (Outcomes, error) {
	if err := checkUnbound(caller); err != nil {
		return Outcomes{}, err
	}
	ids := make([]uuid.UUID, len(operations))
	malformed := make([]error, len(operations))
	for i, operation := range operations {
		ids[i], malformed[i] = store.ParseID(operation.ConversationID, noConversation)
	}
	outcomes, err := store.Idempotent(ctx, c.store, key, func(q *db.Queries) (Outcomes, error) {
		found, err := q.LockConversations(ctx, caller.OrganizationID, ids)
		if err != nil {
			return Outcomes{}, err
		}
		changes := make(map[uuid.UUID]*batchChange, len(found))
		for _, session := range found {
			changes[session.ID] = &batchChange{owner: session.UserID}
		}
		refused := make([]*apperr.Error, len(operations))
		for i, operation := range operations {
			err := malformed[i]
			if err == nil {
				err = changes[ids[i]].add(caller, operation.Action)
			}
			refused[i], _ = errors.AsType[*apperr.Error](err)
		}
		return Outcomes{RequestID: requestID, Refused: refused}, applyBatch(ctx, q, caller, changes)
	})
	for i, refusal := range outcomes.Refused {
		if refusal == nil && operations[i].Action == "delete" {
			c.feed.NotifyDeleted(ids[i])
		}
	}
	return outcomes, err
}

// batchChange is the net effect of a batch on a conversation. It is computed while the sessions are
// locked, so that a batch of any length takes a few statements.
type batchChange struct {
	owner     uuid.UUID
	isDeleted bool
	isRead    bool
	status    string // empty: unchanged
}

// add adds an action, or returns the error for which it is refused.
func (b *batchChange) add(caller auth.Principal, action string) error {
	if b == nil || b.isDeleted {
		return apperr.New(apperr.NotFound, noConversation)
	}
	if err := checkRead(caller, ownership{owner: b.owner}); err != nil {
		return err
	}
	switch action {
	case "archive":
		b.status = "archived"
	case "unarchive":
		b.status = "active"
	case "mark_read":
		b.isRead = true
	case "delete":
		b.isDeleted = true
	default:
		return apperr.New(apperr.InvalidRequest, "The action must be archive, unarchive, mark_read or delete.")
	}
	return nil
}

func applyBatch(ctx context.Context, q *db.Queries, caller auth.Principal, changes map[uuid.UUID]*batchChange) error {
	var deleted, read []uuid.UUID
	byStatus := make(map[string][]uuid.UUID)
	for id, change := range changes {
		switch {
		case change.isDeleted:
			deleted = append(deleted, id)
			continue
		case change.status != "":
			byStatus[change.status] = append(byStatus[change.status], id)
		}
		if change.isRead {
			read = append(read, id)
		}
	}
	for status, ids := range byStatus {
		if err := q.SetConversationsStatus(ctx, status, caller.OrganizationID, ids); err != nil {
			return err
		}
	}
	if len(read) > 0 {
		err := q.MarkConversationsRead(ctx, db.MarkConversationsReadParams{
			OrganizationID: caller.OrganizationID, Ids: read, UserID: caller.UserID, IsStaff: caller.IsStaff(),
		})
		if err != nil {
			return err
		}
	}
	if len(deleted) == 0 {
		return nil
	}
	if err := q.DeleteConversations(ctx, caller.OrganizationID, deleted); err != nil {
		return err
	}
	return audit.Record(ctx, q, caller.OrganizationID, audit.ConversationDeleted, nil, deleted...)
}
