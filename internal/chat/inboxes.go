package chat

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
)

const noInbox = "There is no such inbox."

// ListInboxes returns a page of inboxes, newest first, and how many there are.
func (c *Chat) ListInboxes(ctx context.Context, organization uuid.UUID, limit, offset int) ([]db.ListInboxesRow, int64, error) {
	count, err := c.store.CountInboxes(ctx, organization)
	if err != nil {
		return nil, 0, err
	}
	rows, err := c.store.ListInboxes(ctx, db.ListInboxesParams{
		IsCounted: c.shortcuts.Counts, OrganizationID: organization, PageOffset: int32(offset), PageLimit: int32(limit),
	})
	return rows, count, err
}

// inbox returns an inbox of the organization.
func (c *Chat) inbox(ctx context.Context, organization uuid.UUID, id string) (db.Inbox, error) {
	inboxID, err := parseID(id, noInbox)
	if err != nil {
		return db.Inbox{}, err
	}
	found, err := c.store.GetInbox(ctx, organization, inboxID)
	return found, apperr.Rephrase(err, apperr.NotFound, noInbox)
}
