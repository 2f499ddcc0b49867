// Package inbox manages where conversations come from: inboxes, the web chats that feed them, and
// the contacts in them.
package inbox

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/store"
)

const (
	noInbox   = "There is no such inbox."
	noContact = "There is no such contact."
	noWebChat = "There is no such web chat."
)

// Inboxes manages inboxes, web chats, and contacts. It is safe for concurrent use.
type Inboxes struct {
	store *store.Store
	bots  *bot.Bots
}

// New returns Inboxes.
func New(store *store.Store, bots *bot.Bots) *Inboxes { return &Inboxes{store: store, bots: bots} }

// List returns a page of inboxes, newest first, and how many there are.
func (i *Inboxes) List(ctx context.Context, organization uuid.UUID, limit, offset int) ([]db.ListInboxesRow, int64, error) {
	count, err := i.store.CountInboxes(ctx, organization)
	if err != nil {
		return nil, 0, err
	}
	rows, err := i.store.ListInboxes(ctx, organization, int32(offset), int32(limit))
	return rows, count, err
}

// Get returns an inbox with its channel.
func (i *Inboxes) Get(ctx context.Context, organization uuid.UUID, id string) (db.ListInboxesRow, error) {
	inboxID, err := store.ParseID(id, noInbox)
	if err != nil {
		return db.ListInboxesRow{}, err
	}
	found, err := i.store.GetInboxWithChannel(ctx, organization, inboxID)
	return db.ListInboxesRow(found), apperr.Rephrase(err, apperr.NotFound, noInbox)
}

// Get returns an inbox.
func Get(ctx context.Context, q *db.Queries, organization uuid.UUID, id string) (db.Inbox, error) {
	inboxID, err := store.ParseID(id, noInbox)
	if err != nil {
		return db.Inbox{}, err
	}
	found, err := q.GetInbox(ctx, organization, inboxID)
	return found, apperr.Rephrase(err, apperr.NotFound, noInbox)
}
