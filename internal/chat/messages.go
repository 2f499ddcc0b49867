package chat

import (
	"context"
	"strings"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/feed"
	"parley/internal/store"
)

// Message returns a message that the caller may read. If a conversation is given, the message must
// be in it, and the caller must be allowed to read it.
func (c *Chat) Message(ctx context.Context, caller auth.Principal, id string, conversation *string) (db.Message, error) {
	if conversation != nil {
		if _, err := c.session(ctx, caller, *conversation); err != nil {
			return db.Message{}, err
		}
	}
	messageID, err := store.ParseID(id, noMessage)
	if err != nil {
		return db.Message{}, err
	}
	found, err := c.store.GetMessage(ctx, caller.OrganizationID, messageID)
	if err != nil {
		return db.Message{}, apperr.Rephrase(err, apperr.NotFound, noMessage)
	}
	if err := checkRead(caller, ownership{found.OwnerID, found.Message.SessionID, found.BotID, found.ContactID}); err != nil {
		return db.Message{}, err
	}
	if conversation != nil && !strings.EqualFold(found.Message.SessionID.String(), *conversation) {
		return db.Message{}, apperr.New(apperr.NotFound, "The conversation has no such message.")
	}
	return found.Message, nil
}

// Rate sets the feedback on a message that the caller may read: like, dislike, or nil for neither.
// The record of the exchange gets the feedback on its reply.
func (c *Chat) Rate(ctx context.Context, caller auth.Principal, id string, feedback *string) (db.Message, error) {
	message, err := c.Message(ctx, caller, id, nil)
	if err != nil {
		return db.Message{}, err
	}
	if err := c.store.SetFeedback(ctx, feedback, caller.OrganizationID, message.ID); err != nil {
		return db.Message{}, err
	}
	message.Feedback = feedback
	c.feed.Publish(message.SessionID, &feed.FeedbackChanged{Message: &message})
	return message, nil
}

// MessagePage is a page of messages, newest first, and the cursors of the adjacent pages, empty if
// there are none.
type MessagePage struct {
	Messages       []db.Message
	NextCursor     string
	PreviousCursor string
}

// Messages returns a page of the messages of a conversation, or of all that the caller may read,
// newest first. A page has fewer messages than limit if they are long. An empty cursor is the first
// page; an invalid one is NotFound.
func (c *Chat) Messages(ctx context.Context, caller auth.Principal, conversation *string, cursor string, limit int) (MessagePage, error) {
	sortedBy := byTime
	if conversation != nil {
		sortedBy = bySeq
	} else if err := checkUnbound(caller); err != nil {
		return MessagePage{}, err
	}
	at, err := parseCursor(cursor, sortedBy)
	if err != nil {
		return MessagePage{}, err
	}
	ctx, bytes := store.WithByteLimit(ctx, feed.PageBytes)
	var rows []db.Message
	if conversation != nil {
		session, err := c.session(ctx, caller, *conversation)
		if err != nil {
			return MessagePage{}, err
		}
		rows, err = listSessionMessages(ctx, c.store.Queries, session, at, int32(limit)+1)
		if err != nil {
			return MessagePage{}, err
		}
	} else if rows, err = listReadableMessages(ctx, bytes, c.store.Queries, caller, at, int32(limit)+1); err != nil {
		return MessagePage{}, err
	}
	rows, hasMore := truncate(rows, limit)
	var page MessagePage
	page.Messages, page.NextCursor, page.PreviousCursor = pageOf(rows, hasMore || bytes.Truncated(), at, func(row db.Message) position {
		return position{order: at.order, seq: row.Seq, time: row.CreatedAt, id: row.ID}
	})
	return page, nil
}

func listSessionMessages(ctx context.Context, q *db.Queries, session db.Session, at position, limit int32) ([]db.Message, error) {
	if at.isBackward {
		return q.ListSessionMessagesAfter(ctx, db.ListSessionMessagesAfterParams{
			OrganizationID: session.OrganizationID, SessionID: session.ID, Seq: at.seq, PageLimit: limit,
		})
	}
	return q.ListSessionMessagesBefore(ctx, db.ListSessionMessagesBeforeParams{
		OrganizationID: session.OrganizationID, SessionID: session.ID, Seq: at.seq, PageLimit: limit,
	})
}

const (
	// manyConversations is the number of conversations above which the organization's messages are scanned. With that
	// many, it is expensive to query each conversation, and some of their messages are likely near in the
	// organization's order.
	manyConversations = 1000
	// scanLimit is how many messages of the organization are scanned for a page of a user's.
	scanLimit = 5_000
)

// listReadableMessages reads messages of all conversations that the caller may read. For the staff
// it walks the organization's messages in their order. For a user it looks into each of the user's
// conversations, because millions of other messages may lie between the user's own.
func listReadableMessages(ctx context.Context, bytes *store.ByteLimit, q *db.Queries, caller auth.Principal, at position, limit int32) ([]db.Message, error) {
	if caller.IsStaff() {
		return scanMessages(ctx, q, caller, at, limit, limit)
	}
	hasMany, err := q.HasManyConversations(ctx, manyConversations, caller.OrganizationID, caller.UserID)
	if err != nil {
		return nil, err
	}
	if hasMany {
		rows, err := scanMessages(ctx, q, caller, at, limit, scanLimit)
		if err != nil || len(rows) == int(limit) || bytes.Truncated() {
			return rows, err
		}
	}
	if at.isBackward {
		return q.ListUserMessagesAfter(ctx, db.ListUserMessagesAfterParams{
			OrganizationID: caller.OrganizationID, UserID: caller.UserID, CreatedAt: at.time, ID: at.id, PageLimit: limit,
		})
	}
	return q.ListUserMessagesBefore(ctx, db.ListUserMessagesBeforeParams{
		OrganizationID: caller.OrganizationID, UserID: caller.UserID, CreatedAt: at.time, ID: at.id, PageLimit: limit,
	})
}

// scanMessages returns the caller's messages among the next scanned messages of the organization.
func scanMessages(ctx context.Context, q *db.Queries, caller auth.Principal, at position, limit, scanned int32) ([]db.Message, error) {
	params := db.ListMessagesBeforeParams{
		OrganizationID: caller.OrganizationID, UserID: caller.UserID, IsStaff: caller.IsStaff(), CreatedAt: at.time, ID: at.id, ScanLimit: scanned, PageLimit: limit,
	}
	if at.isBackward {
		return q.ListMessagesAfter(ctx, db.ListMessagesAfterParams(params))
	}
	return q.ListMessagesBefore(ctx, params)
}
