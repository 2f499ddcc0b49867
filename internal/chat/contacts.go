package chat

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/inbox"
	"parley/internal/store"
)

// Contacts reads and writes the conversations of contacts, for the staff. It is safe for concurrent
// use.
type Contacts struct{ chat *Chat }

// NewContacts returns the Contacts of a Chat.
func NewContacts(c *Chat) Contacts { return Contacts{chat: c} }

// ContactFilter selects a page of the conversations that Conversations returns.
type ContactFilter struct {
	InboxID       *string
	Keyword       *string // a substring of the title or a message, ignoring case
	Limit, Offset int
}

// ContactPage is a page of a contact's conversations.
type ContactPage struct {
	Conversations []Conversation
	Total         int64 // of all pages
	// End is the offset of the first conversation after the page. It is less than the limit after
	// the offset if the last messages are long.
	End int
}

// Conversations returns a page of a contact's conversations, latest activity first. An unknown
// contact or inbox is NotFound. A search that takes longer than five seconds is a Timeout.
func (c Contacts) Conversations(ctx context.Context, caller auth.Principal, contact string, filter ContactFilter) (ContactPage, error) {
	search := db.FindContactConversationsParams{OrganizationID: caller.OrganizationID, PageLimit: int32(filter.Limit), PageOffset: int32(filter.Offset)}
	if filter.Keyword != nil {
		search.Pattern = new(store.ContainsPattern(store.SearchText(*filter.Keyword)))
	}
	if filter.InboxID != nil {
		found, err := inbox.Get(ctx, c.chat.store.Queries, caller.OrganizationID, *filter.InboxID)
		if err != nil {
			return ContactPage{}, err
		}
		search.InboxID = &found.ID
	}
	var page ContactPage
	err := c.chat.inSearch(ctx, caller.OrganizationID, filter.Keyword, func(ctx context.Context, q *db.Queries) error {
		rows, total, err := findConversations(ctx, q, caller, contact, search)
		if err != nil {
			return err
		}
		last, complete, err := readLastMessages(ctx, q, rows)
		if err != nil {
			return err
		}
		page = ContactPage{Conversations: withLastMessages(rows[:complete], last), Total: total, End: filter.Offset + complete}
		return nil
	})
	return page, err
}

// Latest returns the contact's conversation with the latest activity. It is NotFound if the contact
// has none.
func (c Contacts) Latest(ctx context.Context, caller auth.Principal, contact string) (Conversation, error) {
	var latest Conversation
	err := c.chat.store.InTx(ctx, func(q *db.Queries) error {
		rows, _, err := findConversations(ctx, q, caller, contact, db.FindContactConversationsParams{OrganizationID: caller.OrganizationID, PageLimit: 1})
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return apperr.New(apperr.NotFound, noContactConversation)
		}
		latest, err = readConversation(ctx, q, rows[0].Session)
		return err
	})
	return latest, err
}

const noContactConversation = "The contact has no conversation."

// findConversations returns conversations of a contact, latest activity first, and how many match.
func findConversations(ctx context.Context, q *db.Queries, caller auth.Principal, contact string, search db.FindContactConversationsParams) ([]db.GetConversationRow, int64, error) {
	found, err := inbox.GetContact(ctx, q, caller.OrganizationID, contact)
	if err != nil {
		return nil, 0, err
	}
	search.ContactID = found.ID
	matching, err := q.FindContactConversations(ctx, search)
	if err != nil || len(matching.Ids) == 0 {
		return nil, matching.Total, err
	}
	rows, err := listRows(ctx, q, db.ListInboxConversationsBeforeParams{
		OrganizationID: caller.OrganizationID, IsStaff: true, Ids: matching.Ids, At: endOfTime, ID: uuid.Max, PageLimit: search.PageLimit,
	}, false)
	return rows, matching.Total, err
}
