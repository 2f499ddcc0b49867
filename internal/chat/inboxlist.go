package chat

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/store"
)

// InboxFilter says which conversations are listed, and how.
type InboxFilter struct {
	InboxID    *string
	Keyword    *string // a substring of the title, the contact's name or a message, in any case
	ByCreation bool    // newest first; else the latest activity first
	Cursor     string  // empty: the first page
	Limit      int
}

// ConversationPage is a page of conversations and the cursors of the pages beside
// it; empty where there is none.
type ConversationPage struct {
	Conversations  []Conversation
	NextCursor     string
	PreviousCursor string
}

// ListInbox returns a page of the conversations that the caller may read, fewer than the
// limit where their last messages are long. A walk
// going on never meets a conversation twice: one that becomes active moves above
// the pages to come. An unknown inbox and a bad cursor are NotFound; a search that
// takes more than five seconds is a Timeout.
func (c *Chat) ListInbox(ctx context.Context, who auth.Principal, filter InboxFilter) (ConversationPage, error) {
	if err := mustBeFree(who); err != nil {
		return ConversationPage{}, err
	}
	order := byActivity
	if filter.ByCreation {
		order = byCreation
	}
	at, err := parseCursor(filter.Cursor, order)
	if err != nil {
		return ConversationPage{}, err
	}
	var inboxID *uuid.UUID
	if filter.InboxID != nil {
		inbox, err := c.inbox(ctx, who.OrganizationID, *filter.InboxID)
		if err != nil {
			return ConversationPage{}, err
		}
		inboxID = &inbox.ID
	}
	wanted := db.ListInboxConversationsBeforeParams{
		OrganizationID: who.OrganizationID,
		UserID:         who.UserID,
		IsStaff:        who.IsStaff(),
		InboxID:        inboxID,
		ByCreation:     filter.ByCreation,
		IsCounted:      c.shortcuts.Counts,
		At:             at.time,
		ID:             at.id,
		PageLimit:      int32(filter.Limit) + 1,
	}
	var page ConversationPage
	asked := ctx
	ctx, cancel := context.WithTimeout(asked, searchTime)
	defer cancel()
	err = c.store.InTx(ctx, func(q *db.Queries) error {
		if err := q.ConfigureConversationSearch(ctx); err != nil {
			return err
		}
		rows, err := c.inboxRows(ctx, q, wanted, filter.Keyword, at.isBack)
		if err != nil {
			return err
		}
		rows, hasMore := cut(rows, filter.Limit)
		last, got, err := lastMessages(ctx, q, who.OrganizationID, rows)
		if err != nil {
			return err
		}
		page = ConversationPage{}
		hasMore = hasMore || got < len(rows)
		rows, page.NextCursor, page.PreviousCursor = pageOf(rows[:got], hasMore, at, func(row db.GetConversationRow) place {
			if order == byCreation {
				return place{order: order, time: row.Session.CreatedAt, id: row.Session.ID}
			}
			return place{order: order, time: row.Session.LastActivity, id: row.Session.ID}
		})
		page.Conversations = withLastMessages(rows, last)
		return nil
	})
	if ctx.Err() != nil && asked.Err() == nil {
		err = apperr.Wrap(apperr.Timeout, tooLongSearch, err)
	}
	return page, apperr.Rephrase(err, apperr.Timeout, tooLongSearch)
}

// searchTime bounds a search; each of its statements is bounded by the database too.
const searchTime = 5 * time.Second

const tooLongSearch = "The search took too long; narrow it down to an inbox, or look for more of the text."

func listInboxRows(ctx context.Context, q *db.Queries, wanted db.ListInboxConversationsBeforeParams, isBack bool) ([]db.GetConversationRow, error) {
	if isBack {
		found, err := q.ListInboxConversationsAfter(ctx, db.ListInboxConversationsAfterParams(wanted))
		rows := make([]db.GetConversationRow, len(found))
		for i, row := range found {
			rows[i] = db.GetConversationRow(row)
		}
		return rows, err
	}
	found, err := q.ListInboxConversationsBefore(ctx, wanted)
	rows := make([]db.GetConversationRow, len(found))
	for i, row := range found {
		rows[i] = db.GetConversationRow(row)
	}
	return rows, err
}

// lastMessages returns the newest message of each of the first conversations, by their
// ids, and how many those are: not all where the messages are long.
func lastMessages(ctx context.Context, q *db.Queries, organization uuid.UUID, rows []db.GetConversationRow) (last map[uuid.UUID]*db.Message, got int, err error) {
	sessions := make([]uuid.UUID, len(rows))
	seqs := make([]int64, len(rows))
	for i, row := range rows {
		sessions[i], seqs[i] = row.Session.ID, row.Session.LastSeq
	}
	ctx, bytes := store.WithByteLimit(ctx, pageBytes)
	messages, err := q.ListMessagesBySeq(ctx, sessions, seqs, organization)
	if err != nil {
		return nil, 0, err
	}
	last = make(map[uuid.UUID]*db.Message, len(messages))
	for i := range messages {
		last[messages[i].SessionID] = &messages[i]
	}
	if !bytes.Truncated() {
		return last, len(rows), nil
	}
	return last, 1 + slices.Index(sessions, messages[len(messages)-1].SessionID), nil
}

// withLastMessages adds its newest message to each conversation. One that was
// deleted in the meantime is left out.
func withLastMessages(rows []db.GetConversationRow, last map[uuid.UUID]*db.Message) []Conversation {
	shown := make([]Conversation, 0, len(rows))
	for _, row := range rows {
		if row.Session.LastSeq == 0 || last[row.Session.ID] != nil {
			shown = append(shown, Conversation{GetConversationRow: row, LastMessage: last[row.Session.ID]})
		}
	}
	return shown
}
