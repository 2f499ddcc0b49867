package chat

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/store"
)

// Range says which messages of a conversation are asked for: all bounds exclusive,
// nil for none.
type Range struct {
	Before, After       *time.Time
	BeforeSeq, AfterSeq *int64
	Limit               int
}

// isForward tells whether a range begins at its lower bound.
func (r Range) isForward() bool { return r.After != nil || r.AfterSeq != nil }

// pageBytes bounds the messages of a page, as they are stored: it ends with the one that
// brings it there. Their free JSON may be a MiB each.
const pageBytes = 4 << 20

// History returns messages of a conversation, oldest first: with a lower bound the
// oldest that qualify, else the newest; and whether more qualify in that direction. Long
// ones are fewer than the limit.
func (c *Chat) History(ctx context.Context, who auth.Principal, id string, wanted Range) ([]db.ListHistoryBackwardRow, bool, error) {
	session, err := c.session(ctx, who, id)
	if err != nil {
		return nil, false, err
	}
	page := pageOfHistory(session.OrganizationID, session.ID, wanted)
	ctx, bytes := store.WithByteLimit(ctx, pageBytes)
	rows, err := readHistory(ctx, c.store.Queries, page, wanted.isForward())
	if err != nil {
		return nil, false, err
	}
	rows, hasMore := cut(rows, wanted.Limit)
	hasMore = hasMore || bytes.Truncated()
	if !wanted.isForward() {
		slices.Reverse(rows)
	}
	return rows, hasMore, nil
}

// pageOfHistory is what a range asks of a conversation, and one message more.
func pageOfHistory(organization, session uuid.UUID, wanted Range) db.ListHistoryBackwardParams {
	page := db.ListHistoryBackwardParams{
		OrganizationID: organization,
		SessionID:      session,
		BeforeSeq:      math.MaxInt64,
		PageLimit:      int32(wanted.Limit) + 1,
	}
	if wanted.AfterSeq != nil {
		page.AfterSeq = *wanted.AfterSeq
	}
	if wanted.BeforeSeq != nil {
		page.BeforeSeq = *wanted.BeforeSeq
	}
	// Later than a time, and not before it, at the microseconds that the database knows.
	if wanted.After != nil {
		page.Since = new(wanted.After.Truncate(time.Microsecond).Add(time.Microsecond))
	}
	if wanted.Before != nil {
		page.Until = new(wanted.Before.Add(time.Microsecond - 1).Truncate(time.Microsecond))
	}
	return page
}

// readHistory returns the messages of a page in the order in which it is read: from its
// lower bound upwards, or from its upper one downwards.
func readHistory(ctx context.Context, q *db.Queries, page db.ListHistoryBackwardParams, isForward bool) ([]db.ListHistoryBackwardRow, error) {
	if !isForward {
		return q.ListHistoryBackward(ctx, page)
	}
	found, err := q.ListHistoryForward(ctx, db.ListHistoryForwardParams(page))
	rows := make([]db.ListHistoryBackwardRow, len(found))
	for i, row := range found {
		rows[i] = db.ListHistoryBackwardRow(row)
	}
	return rows, err
}

// cut returns the first limit rows, and whether there were more.
func cut[T any](rows []T, limit int) ([]T, bool) {
	if len(rows) > limit {
		return rows[:limit], true
	}
	return rows, false
}

// Message returns a message that the caller may read. With a conversation it must
// be in that one, which must be readable too.
func (c *Chat) Message(ctx context.Context, who auth.Principal, id string, conversation *string) (db.Message, error) {
	if conversation != nil {
		if _, err := c.session(ctx, who, *conversation); err != nil {
			return db.Message{}, err
		}
	}
	messageID, err := parseID(id, noMessage)
	if err != nil {
		return db.Message{}, err
	}
	found, err := c.store.GetMessage(ctx, who.OrganizationID, messageID)
	if err != nil {
		return db.Message{}, apperr.Rephrase(err, apperr.NotFound, noMessage)
	}
	if err := mayRead(who, belonging{found.OwnerID, found.Message.SessionID, found.BotID, found.ContactID}); err != nil {
		return db.Message{}, err
	}
	if conversation != nil && !strings.EqualFold(found.Message.SessionID.String(), *conversation) {
		return db.Message{}, apperr.New(apperr.NotFound, "The conversation has no such message.")
	}
	return found.Message, nil
}
