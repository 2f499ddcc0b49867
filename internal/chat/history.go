package chat

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/fault"
)

// Range says which messages of a conversation are asked for: all bounds exclusive,
// nil for none.
type Range struct {
	Before, After       *time.Time
	BeforeSeq, AfterSeq *int64
	Limit               int
}

// History returns messages of a conversation, oldest first: with a lower bound the
// oldest that qualify, else the newest; and whether more qualify in that direction.
func (c *Chat) History(ctx context.Context, who auth.Principal, id string, wanted Range) ([]db.MessageHistory, bool, error) {
	session, err := c.session(ctx, who, id)
	if err != nil {
		return nil, false, err
	}
	after, before, err := c.places(ctx, session, wanted)
	if err != nil {
		return nil, false, err
	}
	if wanted.After != nil || wanted.AfterSeq != nil {
		rows, err := c.store.ListHistoryForward(ctx, db.ListHistoryForwardParams{
			OrganizationID: session.OrganizationID,
			SessionID:      session.ID,
			AfterSeq:       after,
			BeforeSeq:      before,
			PageLimit:      int32(wanted.Limit) + 1,
		})
		if err != nil {
			return nil, false, err
		}
		rows, hasMore := cut(rows, wanted.Limit)
		return rows, hasMore, nil
	}
	rows, err := c.store.ListHistoryBackward(ctx, db.ListHistoryBackwardParams{
		OrganizationID: session.OrganizationID,
		SessionID:      session.ID,
		AfterSeq:       after,
		BeforeSeq:      before,
		PageLimit:      int32(wanted.Limit) + 1,
	})
	if err != nil {
		return nil, false, err
	}
	rows, hasMore := cut(rows, wanted.Limit)
	slices.Reverse(rows)
	return rows, hasMore, nil
}

// places turns a range into two places of the conversation, both exclusive.
func (c *Chat) places(ctx context.Context, session db.Session, wanted Range) (after, before int64, err error) {
	after, before = 0, math.MaxInt64
	if wanted.AfterSeq != nil {
		after = *wanted.AfterSeq
	}
	if wanted.BeforeSeq != nil {
		before = *wanted.BeforeSeq
	}
	if wanted.After != nil {
		// The first message that is later, at the microsecond the database knows.
		since, err := c.store.GetFirstSeqSince(ctx, session.OrganizationID, session.ID, wanted.After.Truncate(time.Microsecond).Add(time.Microsecond))
		if err != nil {
			return 0, 0, err
		}
		after = max(after, since-1)
	}
	if wanted.Before != nil {
		since, err := c.store.GetFirstSeqSince(ctx, session.OrganizationID, session.ID, wanted.Before.Add(time.Microsecond-1).Truncate(time.Microsecond))
		if err != nil {
			return 0, 0, err
		}
		before = min(before, since)
	}
	return after, before, nil
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
		return db.Message{}, fault.Say(err, fault.NotFound, noMessage)
	}
	if err := mayRead(who, belonging{found.OwnerID, found.Message.SessionID, found.BotID, found.ContactID}); err != nil {
		return db.Message{}, err
	}
	if conversation != nil && !strings.EqualFold(found.Message.SessionID.String(), *conversation) {
		return db.Message{}, fault.New(fault.NotFound, "The conversation has no such message.")
	}
	return found.Message, nil
}

// MessagePage is a page of messages, newest first, and the cursors of the pages
// beside it; empty where there is none.
type MessagePage struct {
	Messages       []db.Message
	NextCursor     string
	PreviousCursor string
}

// Messages returns a page of a conversation's messages, or of all that the caller
// may read, newest first. An empty cursor is the first page; a bad one is NotFound.
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
	} else if rows, err = c.messagesOfAll(ctx, who, at, int32(limit)+1); err != nil {
		return MessagePage{}, err
	}
	var page MessagePage
	page.Messages, page.NextCursor, page.PreviousCursor = pageOf(rows, limit, at, func(row db.Message) place {
		return place{order: at.order, seq: row.Seq, time: row.CreatedAt, id: row.ID}
	})
	return page, nil
}

func (c *Chat) messagesOf(ctx context.Context, session db.Session, at place, limit int32) ([]db.Message, error) {
	if at.isBack {
		return c.store.ListSessionMessagesNewer(ctx, db.ListSessionMessagesNewerParams{
			OrganizationID: session.OrganizationID, SessionID: session.ID, Seq: at.seq, PageLimit: limit,
		})
	}
	return c.store.ListSessionMessagesOlder(ctx, db.ListSessionMessagesOlderParams{
		OrganizationID: session.OrganizationID, SessionID: session.ID, Seq: at.seq, PageLimit: limit,
	})
}

func (c *Chat) messagesOfAll(ctx context.Context, who auth.Principal, at place, limit int32) ([]db.Message, error) {
	if at.isBack {
		return c.store.ListMessagesNewer(ctx, db.ListMessagesNewerParams{
			OrganizationID: who.OrganizationID, UserID: who.UserID, IsStaff: who.IsStaff(), CreatedAt: at.time, ID: at.id, PageLimit: limit,
		})
	}
	return c.store.ListMessagesOlder(ctx, db.ListMessagesOlderParams{
		OrganizationID: who.OrganizationID, UserID: who.UserID, IsStaff: who.IsStaff(), CreatedAt: at.time, ID: at.id, PageLimit: limit,
	})
}
