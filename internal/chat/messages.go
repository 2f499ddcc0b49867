package chat

import (
	"context"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/store"
)

// MessagePage is a page of messages, newest first, and the cursors of the pages
// beside it; empty where there is none.
type MessagePage struct {
	Messages       []db.Message
	NextCursor     string
	PreviousCursor string
}

// Messages returns a page of a conversation's messages, or of all that the caller
// may read, newest first, fewer where they are long. An empty cursor is the first page;
// a bad one is NotFound.
func (c *Chat) Messages(ctx context.Context, who auth.Principal, conversation *string, cursor string, limit int) (MessagePage, error) {
	order := byTime
	if conversation != nil {
		order = bySeq
	} else if err := mustBeFree(who); err != nil {
		return MessagePage{}, err
	}
	at, err := parseCursor(cursor, order)
	if err != nil {
		return MessagePage{}, err
	}
	ctx, bytes := store.WithByteLimit(ctx, pageBytes)
	var rows []db.Message
	if conversation != nil {
		session, err := c.session(ctx, who, *conversation)
		if err != nil {
			return MessagePage{}, err
		}
		rows, err = c.messagesOf(ctx, session, at, int32(limit)+1)
		if err != nil {
			return MessagePage{}, err
		}
	} else if rows, err = c.messagesOfAll(ctx, bytes, who, at, int32(limit)+1); err != nil {
		return MessagePage{}, err
	}
	rows, hasMore := cut(rows, limit)
	var page MessagePage
	page.Messages, page.NextCursor, page.PreviousCursor = pageOf(rows, hasMore || bytes.Truncated(), at, func(row db.Message) place {
		return place{order: at.order, seq: row.Seq, time: row.CreatedAt, id: row.ID}
	})
	return page, nil
}

func (c *Chat) messagesOf(ctx context.Context, session db.Session, at place, limit int32) ([]db.Message, error) {
	if at.isBack {
		return c.store.ListSessionMessagesAfter(ctx, db.ListSessionMessagesAfterParams{
			OrganizationID: session.OrganizationID, SessionID: session.ID, Seq: at.seq, PageLimit: limit,
		})
	}
	return c.store.ListSessionMessagesBefore(ctx, db.ListSessionMessagesBeforeParams{
		OrganizationID: session.OrganizationID, SessionID: session.ID, Seq: at.seq, PageLimit: limit,
	})
}

const (
	// manyConversations is how many make it dear to look for a user's messages in each
	// of them, and likely that some are near in the organization's own order.
	manyConversations = 1000
	// reach is how many messages of the organization are then looked at for a page.
	reach = 5_000
)

// messagesOfAll reads the messages of all that the caller may read. Those of the staff are
// the organization's own, in their order; those of a user are looked for in the user's
// conversations, since all that lies between them may be millions of others.
func (c *Chat) messagesOfAll(ctx context.Context, bytes *store.ByteLimit, who auth.Principal, at place, limit int32) ([]db.Message, error) {
	if who.IsStaff() {
		return c.messagesNear(ctx, who, at, limit, limit)
	}
	hasMany, err := c.store.HasManyConversations(ctx, manyConversations, who.OrganizationID, who.UserID)
	if err != nil {
		return nil, err
	}
	if hasMany {
		rows, err := c.messagesNear(ctx, who, at, limit, reach)
		if err != nil || len(rows) == int(limit) || bytes.Truncated() {
			return rows, err
		}
	}
	if at.isBack {
		return c.store.ListUserMessagesAfter(ctx, db.ListUserMessagesAfterParams{
			OrganizationID: who.OrganizationID, UserID: who.UserID, CreatedAt: at.time, ID: at.id, PageLimit: limit,
		})
	}
	return c.store.ListUserMessagesBefore(ctx, db.ListUserMessagesBeforeParams{
		OrganizationID: who.OrganizationID, UserID: who.UserID, CreatedAt: at.time, ID: at.id, PageLimit: limit,
	})
}

// messagesNear reads messages of the caller's among the nearest of the organization.
func (c *Chat) messagesNear(ctx context.Context, who auth.Principal, at place, limit, reach int32) ([]db.Message, error) {
	wanted := db.ListMessagesBeforeParams{
		OrganizationID: who.OrganizationID, UserID: who.UserID, IsStaff: who.IsStaff(), CreatedAt: at.time, ID: at.id, ScanLimit: reach, PageLimit: limit,
	}
	if at.isBack {
		return c.store.ListMessagesAfter(ctx, db.ListMessagesAfterParams(wanted))
	}
	return c.store.ListMessagesBefore(ctx, wanted)
}
