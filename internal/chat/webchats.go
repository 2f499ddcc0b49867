package chat

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/store"
)

// WebChat is what a web chat is made of; nil fields are left as they are, or at
// their default.
type WebChat struct {
	Name           *string
	BotRef         *string
	AccessType     *string
	AllowedOrigins []string
}

// CreateWebChat makes a web chat, and an inbox of the same name, once for a key.
func (c *Chat) CreateWebChat(ctx context.Context, organization uuid.UUID, wanted WebChat, key *store.IdempotencyKey) (db.WebChat, error) {
	accessType := "web"
	if wanted.AccessType != nil {
		accessType = *wanted.AccessType
	}
	return store.Idempotent(ctx, c.store, key, func(q *db.Queries) (db.WebChat, error) {
		asked, err := askedBot(ctx, c.bots.Within(q), organization, wanted.BotRef)
		if err != nil {
			return db.WebChat{}, err
		}
		inbox, err := q.CreateInbox(ctx, db.CreateInboxParams{
			OrganizationID: organization,
			ID:             newID(),
			BotID:          asked.ID,
			Name:           *wanted.Name,
			ChannelType:    "web",
		})
		if err != nil {
			return db.WebChat{}, err
		}
		return q.CreateWebChat(ctx, db.CreateWebChatParams{
			OrganizationID: organization,
			ID:             newID(),
			BotID:          asked.ID,
			InboxID:        inbox.ID,
			Name:           *wanted.Name,
			AccessType:     accessType,
			AllowedOrigins: append([]string{}, wanted.AllowedOrigins...),
		})
	})
}

// GetWebChat returns a web chat.
func (c *Chat) GetWebChat(ctx context.Context, organization uuid.UUID, id string) (db.WebChat, error) {
	return getWebChat(ctx, c.store.Queries, organization, id)
}

func getWebChat(ctx context.Context, q *db.Queries, organization uuid.UUID, id string) (db.WebChat, error) {
	webChatID, err := parseID(id, noWebChat)
	if err != nil {
		return db.WebChat{}, err
	}
	found, err := q.GetWebChat(ctx, organization, webChatID)
	return found, apperr.Rephrase(err, apperr.NotFound, noWebChat)
}

// ListWebChats returns a page of web chats, newest first, and how many there are.
func (c *Chat) ListWebChats(ctx context.Context, organization uuid.UUID, limit, offset int) ([]db.WebChat, int64, error) {
	count, err := c.store.CountWebChats(ctx, organization)
	if err != nil {
		return nil, 0, err
	}
	rows, err := c.store.ListWebChats(ctx, organization, int32(offset), int32(limit))
	return rows, count, err
}

// UpdateWebChat changes a web chat and returns it.
func (c *Chat) UpdateWebChat(ctx context.Context, organization uuid.UUID, id string, change WebChat) (db.WebChat, error) {
	webChatID, err := parseID(id, noWebChat)
	if err != nil {
		return db.WebChat{}, err
	}
	var botID *uuid.UUID
	if change.BotRef != nil {
		asked, err := c.bots.Get(ctx, organization, *change.BotRef)
		if err != nil {
			return db.WebChat{}, err
		}
		botID = &asked.ID
	}
	changed, err := c.store.UpdateWebChat(ctx, db.UpdateWebChatParams{
		OrganizationID: organization,
		ID:             webChatID,
		Name:           change.Name,
		BotID:          botID,
		AccessType:     change.AccessType,
		AllowedOrigins: change.AllowedOrigins,
	})
	return changed, apperr.Rephrase(err, apperr.NotFound, noWebChat)
}

// DeleteWebChat deletes a web chat; its inbox and conversations stay.
func (c *Chat) DeleteWebChat(ctx context.Context, organization uuid.UUID, id string) error {
	webChatID, err := parseID(id, noWebChat)
	if err != nil {
		return err
	}
	return c.store.InTx(ctx, func(q *db.Queries) error {
		gone, err := q.DeleteWebChat(ctx, organization, webChatID)
		if err != nil {
			return apperr.Rephrase(err, apperr.NotFound, noWebChat)
		}
		return audit.Record(ctx, q, organization, audit.WebChatDeleted, audit.Details{"name": gone.Name}, webChatID)
	})
}
