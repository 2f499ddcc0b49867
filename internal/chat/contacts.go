package chat

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/store"
)

const noContact = "There is no such contact."

// Contact is a contact with the inboxes that it is in.
type Contact struct {
	db.Contact
	InboxIDs []uuid.UUID
}

// ContactFields is what a contact is made of; nil fields are left as they are, or
// at their default.
type ContactFields struct {
	Name          *string
	Avatar        *string
	Email         *string
	PhoneNumber   *string
	SourceID      *string // unique in an inbox
	InboxIDs      []string
	QueryMetadata json.RawMessage
}

// CreateContact makes a contact, in the default bot's API inbox where no inbox is
// named, once for a key. An unknown inbox is NotFound, and a source id that another
// contact has in one of the inboxes is a Conflict.
func (c *Chat) CreateContact(ctx context.Context, organization uuid.UUID, wanted ContactFields, key *store.IdempotencyKey) (Contact, error) {
	if err := checkQueryMetadata(apperr.InvalidRequest, "/queryMetadata", wanted.QueryMetadata); err != nil {
		return Contact{}, err
	}
	inboxes, err := inboxIDs(wanted.InboxIDs)
	if err != nil {
		return Contact{}, err
	}
	made := db.CreateContactParams{
		OrganizationID: organization,
		ID:             newID(),
		SourceID:       wanted.SourceID,
		Name:           orEmpty(wanted.Name),
		Avatar:         orEmpty(wanted.Avatar),
		Email:          orEmpty(wanted.Email),
		PhoneNumber:    orEmpty(wanted.PhoneNumber),
		QueryMetadata:  wanted.QueryMetadata,
	}
	return store.Idempotent(ctx, c.store, key, func(q *db.Queries) (Contact, error) {
		places := inboxes
		if len(places) == 0 {
			inbox, err := c.defaultInbox(ctx, q, organization)
			if err != nil {
				return Contact{}, err
			}
			places = []uuid.UUID{inbox.ID}
		}
		if err := q.CreateContact(ctx, made); err != nil {
			return Contact{}, err
		}
		if err := putInto(ctx, q, organization, made.ID, places); err != nil {
			return Contact{}, err
		}
		row, err := q.GetContactWithInboxes(ctx, organization, made.ID)
		return Contact{Contact: row.Contact, InboxIDs: row.InboxIds}, err
	})
}

func (c *Chat) defaultInbox(ctx context.Context, q *db.Queries, organization uuid.UUID) (db.Inbox, error) {
	bot, err := c.bots.Within(q).Default(ctx, organization)
	if err != nil {
		return db.Inbox{}, err
	}
	inbox, err := q.GetAPIInbox(ctx, organization, bot.ID)
	return inbox, apperr.Rephrase(err, apperr.NotFound, noInbox)
}

// GetContact returns a contact.
func (c *Chat) GetContact(ctx context.Context, organization uuid.UUID, id string) (Contact, error) {
	contactID, err := parseID(id, noContact)
	if err != nil {
		return Contact{}, err
	}
	row, err := c.store.GetContactWithInboxes(ctx, organization, contactID)
	return Contact{Contact: row.Contact, InboxIDs: row.InboxIds}, apperr.Rephrase(err, apperr.NotFound, noContact)
}

// ListContacts returns a page of contacts, newest first, and how many qualify in
// all: with a search those whose name or source id contains it, in any case.
func (c *Chat) ListContacts(ctx context.Context, organization uuid.UUID, search *string, limit, offset int) ([]Contact, int64, error) {
	var pattern *string
	if search != nil {
		pattern = new(containing(*search))
	}
	count, err := c.store.CountContacts(ctx, organization, pattern)
	if err != nil {
		return nil, 0, err
	}
	rows, err := c.store.ListContacts(ctx, db.ListContactsParams{
		OrganizationID: organization,
		Pattern:        pattern,
		PageLimit:      int32(limit),
		PageOffset:     int32(offset),
	})
	contacts := make([]Contact, len(rows))
	for i, row := range rows {
		contacts[i] = Contact{Contact: row.Contact, InboxIDs: row.InboxIds}
	}
	return contacts, count, err
}

// UpdateContact changes a contact and returns it; the inboxes that are named take
// the place of those it was in. Faults are those of CreateContact.
func (c *Chat) UpdateContact(ctx context.Context, organization uuid.UUID, id string, change ContactFields) (Contact, error) {
	contactID, err := parseID(id, noContact)
	if err != nil {
		return Contact{}, err
	}
	if err := checkQueryMetadata(apperr.InvalidRequest, "/queryMetadata", change.QueryMetadata); err != nil {
		return Contact{}, err
	}
	inboxes, err := inboxIDs(change.InboxIDs)
	if err != nil {
		return Contact{}, err
	}
	var contact Contact
	err = c.store.InTx(ctx, func(q *db.Queries) error {
		changed, err := q.UpdateContact(ctx, db.UpdateContactParams{
			OrganizationID: organization,
			ID:             contactID,
			SourceID:       change.SourceID,
			Name:           change.Name,
			Avatar:         change.Avatar,
			Email:          change.Email,
			PhoneNumber:    change.PhoneNumber,
			QueryMetadata:  change.QueryMetadata,
		})
		if err != nil {
			return err
		}
		if changed == 0 {
			return apperr.New(apperr.NotFound, noContact)
		}
		if err := move(ctx, q, organization, contactID, inboxes, change.SourceID != nil); err != nil {
			return err
		}
		row, err := q.GetContactWithInboxes(ctx, organization, contactID)
		contact = Contact{Contact: row.Contact, InboxIDs: row.InboxIds}
		return err
	})
	return contact, err
}

// move makes a contact be in these inboxes, or where it is when there are none, and
// under the source id that it has now.
//
// It leaves inboxes before it takes a source id, and takes that before it enters
// others: no place that the contact is not to have can stand in its way.
func move(ctx context.Context, q *db.Queries, organization, contact uuid.UUID, inboxes []uuid.UUID, isRenamed bool) error {
	if len(inboxes) > 0 {
		if err := q.RemoveContactFromOtherInboxes(ctx, organization, contact, inboxes); err != nil {
			return err
		}
	}
	if isRenamed {
		if err := q.UpdateContactInboxSourceIDs(ctx, organization, contact); err != nil {
			return err
		}
	}
	return putInto(ctx, q, organization, contact, inboxes)
}

// putInto puts a contact into inboxes, each of which there must be.
func putInto(ctx context.Context, q *db.Queries, organization, contact uuid.UUID, inboxes []uuid.UUID) error {
	if len(inboxes) == 0 {
		return nil
	}
	known, err := q.AddContactToInboxes(ctx, organization, inboxes, contact)
	if err == nil && known < int64(len(inboxes)) {
		return apperr.New(apperr.NotFound, noInbox)
	}
	return err
}

// inboxIDs reads ids, each once.
func inboxIDs(texts []string) ([]uuid.UUID, error) {
	ids := make([]uuid.UUID, 0, len(texts))
	for _, text := range texts {
		id, err := parseID(text, noInbox)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// DeleteContact deletes a contact with all its conversations.
func (c *Chat) DeleteContact(ctx context.Context, organization uuid.UUID, id string) error {
	contactID, err := parseID(id, noContact)
	if err != nil {
		return err
	}
	return c.store.InTx(ctx, func(q *db.Queries) error {
		deleted, err := q.DeleteContact(ctx, organization, contactID)
		if err != nil {
			return err
		}
		if deleted == 0 {
			return apperr.New(apperr.NotFound, noContact)
		}
		return audit.Record(ctx, q, organization, audit.ContactDeleted, nil, contactID)
	})
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
