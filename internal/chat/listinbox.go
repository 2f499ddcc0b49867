package chat

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/feed"
	"parley/internal/inbox"
	"parley/internal/store"
)

// searchTime bounds a search. The database bounds each of its statements, too.
const searchTime = 5 * time.Second

const searchTimeout = "The search took too long. Restrict it to an inbox, or search for a longer text."

// InboxFilter selects and sorts the conversations that ListInbox returns.
type InboxFilter struct {
	InboxID    *string
	Keyword    *string // a substring of the title, the contact's name, or a message, ignoring case
	ByCreation bool    // newest first, instead of latest activity first
	Cursor     string  // empty: the first page
	Limit      int
}

// ConversationPage is a page of conversations and the cursors of the adjacent pages, empty if there
// are none.
type ConversationPage struct {
	Conversations  []Conversation
	NextCursor     string
	PreviousCursor string
}

// ListInbox returns a page of the conversations that the caller may read. It has fewer than limit
// if their last messages are long. Paging forward never returns a conversation twice: one that
// becomes active moves above the pages to come. An unknown inbox or an invalid cursor is NotFound.
// A search that takes longer than five seconds is a Timeout.
func (c *Chat) ListInbox(ctx context.Context, caller auth.Principal, filter InboxFilter) (ConversationPage, error) {
	if err := checkUnbound(caller); err != nil {
		return ConversationPage{}, err
	}
	sortedBy := byActivity
	if filter.ByCreation {
		sortedBy = byCreation
	}
	at, err := parseCursor(filter.Cursor, sortedBy)
	if err != nil {
		return ConversationPage{}, err
	}
	var inboxID *uuid.UUID
	if filter.InboxID != nil {
		found, err := inbox.Get(ctx, c.store.Queries, caller.OrganizationID, *filter.InboxID)
		if err != nil {
			return ConversationPage{}, err
		}
		inboxID = &found.ID
	}
	params := db.ListInboxConversationsBeforeParams{
		OrganizationID: caller.OrganizationID,
		UserID:         caller.UserID,
		IsStaff:        caller.IsStaff(),
		InboxID:        inboxID,
		ByCreation:     filter.ByCreation,
		At:             at.time,
		ID:             at.id,
		PageLimit:      int32(filter.Limit) + 1,
	}
	var page ConversationPage
	err = c.inSearch(ctx, caller.OrganizationID, filter.Keyword, func(ctx context.Context, q *db.Queries) error {
		rows, err := c.searchRows(ctx, q, params, filter.Keyword, at.isBackward)
		if err != nil {
			return err
		}
		page, err = conversationPage(ctx, q, rows, filter.Limit, at)
		return err
	})
	return page, err
}

// inSearch runs a search in a transaction, and one with a keyword as a report. A search that takes
// longer than searchTime is a Timeout.
func (c *Chat) inSearch(ctx context.Context, organization uuid.UUID, keyword *string, search func(context.Context, *db.Queries) error) error {
	run := func(s *store.Store) error { return inSearchTx(ctx, s, search) }
	if keyword == nil {
		return run(c.store)
	}
	return c.store.Report(ctx, organization, run)
}

func inSearchTx(ctx context.Context, s *store.Store, search func(context.Context, *db.Queries) error) error {
	limited, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	err := s.InTx(limited, func(q *db.Queries) error {
		if err := q.ConfigureConversationSearch(limited); err != nil {
			return err
		}
		return search(limited, q)
	})
	if limited.Err() != nil && ctx.Err() == nil {
		err = apperr.Wrap(apperr.Timeout, searchTimeout, err)
	}
	return apperr.Rephrase(err, apperr.Timeout, searchTimeout)
}

// conversationPage returns a page of rows with their newest messages.
func conversationPage(ctx context.Context, q *db.Queries, rows []db.GetConversationRow, limit int, at position) (page ConversationPage, err error) {
	rows, hasMore := truncate(rows, limit)
	last, complete, err := readLastMessages(ctx, q, rows)
	if err != nil {
		return ConversationPage{}, err
	}
	hasMore = hasMore || complete < len(rows)
	rows, page.NextCursor, page.PreviousCursor = pageOf(rows[:complete], hasMore, at, func(row db.GetConversationRow) position {
		if at.order == byCreation {
			return position{order: at.order, time: row.Session.CreatedAt, id: row.Session.ID}
		}
		return position{order: at.order, time: row.Session.LastActivity, id: row.Session.ID}
	})
	page.Conversations = withLastMessages(rows, last)
	return page, nil
}

// withLastMessages returns the conversations of rows with their newest messages. A conversation that
// was deleted meanwhile is left out.
func withLastMessages(rows []db.GetConversationRow, last map[uuid.UUID]*db.Message) []Conversation {
	conversations := make([]Conversation, 0, len(rows))
	for _, row := range rows {
		if row.Session.LastSeq == 0 || last[row.Session.ID] != nil {
			conversations = append(conversations, Conversation{GetConversationRow: row, LastMessage: last[row.Session.ID]})
		}
	}
	return conversations
}

func listRows(ctx context.Context, q *db.Queries, params db.ListInboxConversationsBeforeParams, isBackward bool) ([]db.GetConversationRow, error) {
	if isBackward {
		found, err := q.ListInboxConversationsAfter(ctx, db.ListInboxConversationsAfterParams(params))
		rows := make([]db.GetConversationRow, len(found))
		for i, row := range found {
			rows[i] = db.GetConversationRow(row)
		}
		return rows, err
	}
	found, err := q.ListInboxConversationsBefore(ctx, params)
	rows := make([]db.GetConversationRow, len(found))
	for i, row := range found {
		rows[i] = db.GetConversationRow(row)
	}
	return rows, err
}

// readLastMessages returns the newest messages of the first conversations, by session, and how many
// conversations are complete: not all if the messages are long.
func readLastMessages(ctx context.Context, q *db.Queries, rows []db.GetConversationRow) (last map[uuid.UUID]*db.Message, complete int, err error) {
	if len(rows) == 0 {
		return nil, 0, nil
	}
	sessions := make([]uuid.UUID, len(rows))
	seqs := make([]int64, len(rows))
	for i, row := range rows {
		sessions[i], seqs[i] = row.Session.ID, row.Session.LastSeq
	}
	ctx, bytes := store.WithByteLimit(ctx, feed.PageBytes)
	messages, err := q.ListMessagesBySeq(ctx, sessions, seqs, rows[0].Session.OrganizationID)
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
