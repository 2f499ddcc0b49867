package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/bot"
	"parley/internal/origin"
	"parley/internal/store"
)

// WebChat is the fields of a web chat. A nil field is left unchanged, or at its default.
type WebChat struct {
	ID             uuid.UUID // of a new one; uuid.Nil: generated
	Name           *string
	BotRef         *string
	AccessType     *string
	AllowedOrigins []string
}

// CreateWebChat creates a web chat and an inbox of the same name, once for an idempotency key.
func (i *Inboxes) CreateWebChat(ctx context.Context, organization uuid.UUID, fields WebChat, key *store.IdempotencyKey) (db.WebChat, error) {
	accessType := "web"
	if fields.AccessType != nil {
		accessType = *fields.AccessType
	}
	origins, err := parseOrigins(fields.AllowedOrigins)
	if err != nil {
		return db.WebChat{}, err
	}
	return store.Idempotent(ctx, i.store, key, func(q *db.Queries) (db.WebChat, error) {
		owner, err := botOrDefault(ctx, i.bots.Within(q), organization, fields.BotRef)
		if err != nil {
			return db.WebChat{}, err
		}
		inbox, err := q.CreateInbox(ctx, db.CreateInboxParams{
			OrganizationID: organization,
			ID:             store.NewID(),
			BotID:          owner.ID,
			Name:           *fields.Name,
			ChannelType:    "web",
		})
		if err != nil {
			return db.WebChat{}, err
		}
		return q.CreateWebChat(ctx, db.CreateWebChatParams{
			OrganizationID: organization,
			ID:             store.IDOrNew(fields.ID),
			BotID:          owner.ID,
			InboxID:        inbox.ID,
			Name:           *fields.Name,
			AccessType:     accessType,
			AllowedOrigins: append([]string{}, origins...),
		})
	})
}

func botOrDefault(ctx context.Context, bots *bot.Bots, organization uuid.UUID, ref *string) (db.Bot, error) {
	if ref == nil {
		return bots.Default(ctx, organization)
	}
	return bots.Get(ctx, organization, *ref)
}

// parseOrigins returns the origins of a web chat as browsers send them; nil stays nil.
func parseOrigins(entries []string) ([]string, error) {
	origins := slices.Clone(entries)
	for at, entry := range entries {
		parsed, err := origin.Parse(entry)
		if parsed == origin.Any {
			err = errors.New("must name an origin: * alone would allow all pages")
		}
		if err != nil {
			return nil, apperr.Field(apperr.InvalidRequest, fmt.Sprintf("/allowedOrigins/%d", at), err.Error())
		}
		origins[at] = parsed
	}
	return origins, nil
}

// GetWebChat returns a web chat.
func (i *Inboxes) GetWebChat(ctx context.Context, organization uuid.UUID, id string) (db.WebChat, error) {
	return GetWebChat(ctx, i.store.Queries, organization, id)
}

// GetWebChat returns a web chat within a transaction.
func GetWebChat(ctx context.Context, q *db.Queries, organization uuid.UUID, id string) (db.WebChat, error) {
	webChatID, err := store.ParseID(id, noWebChat)
	if err != nil {
		return db.WebChat{}, err
	}
	found, err := q.GetWebChat(ctx, organization, webChatID)
	return found, apperr.Rephrase(err, apperr.NotFound, noWebChat)
}

// ListWebChats returns a page of web chats, newest first, and how many there are.
func (i *Inboxes) ListWebChats(ctx context.Context, organization uuid.UUID, limit, offset int) ([]db.WebChat, int64, error) {
	count, err := i.store.CountWebChats(ctx, organization)
	if err != nil {
		return nil, 0, err
	}
	rows, err := i.store.ListWebChats(ctx, organization, int32(offset), int32(limit))
	return rows, count, err
}

// UpdateWebChat changes a web chat and returns it.
func (i *Inboxes) UpdateWebChat(ctx context.Context, organization uuid.UUID, id string, change WebChat) (db.WebChat, error) {
	webChatID, err := store.ParseID(id, noWebChat)
	if err != nil {
		return db.WebChat{}, err
	}
	origins, err := parseOrigins(change.AllowedOrigins)
	if err != nil {
		return db.WebChat{}, err
	}
	var botID *uuid.UUID
	if change.BotRef != nil {
		owner, err := i.bots.Get(ctx, organization, *change.BotRef)
		if err != nil {
			return db.WebChat{}, err
		}
		botID = &owner.ID
	}
	changed, err := i.store.UpdateWebChat(ctx, db.UpdateWebChatParams{
		OrganizationID: organization,
		ID:             webChatID,
		Name:           change.Name,
		BotID:          botID,
		AccessType:     change.AccessType,
		AllowedOrigins: origins,
	})
	return changed, apperr.Rephrase(err, apperr.NotFound, noWebChat)
}

// DeleteWebChat deletes a web chat. Its inbox and conversations remain.
func (i *Inboxes) DeleteWebChat(ctx context.Context, organization uuid.UUID, id string) error {
	webChatID, err := store.ParseID(id, noWebChat)
	if err != nil {
		return err
	}
	return i.store.InTx(ctx, func(q *db.Queries) error {
		deleted, err := q.DeleteWebChat(ctx, organization, webChatID)
		if err != nil {
			return apperr.Rephrase(err, apperr.NotFound, noWebChat)
		}
		return audit.Record(ctx, q, organization, audit.WebChatDeleted, audit.Details{"name": deleted.Name}, webChatID)
	})
}
