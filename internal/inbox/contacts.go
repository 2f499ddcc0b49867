package inbox

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/bot"
	"parley/internal/store"
)

// Contact is a contact with the inboxes that it is in.
type Contact struct {
	db.Contact
	InboxIDs   []uuid.UUID
	InboxNames []string // in the same order
}

// ContactFields is the fields of a contact. A nil field is left unchanged, or at its default.
type ContactFields struct {
	ID            uuid.UUID // of a new one; uuid.Nil: generated
	Name          *string
	Avatar        *string
	Email         *string
	PhoneNumber   *string
	SourceID      *string // unique in an inbox
	InboxIDs      []string
	QueryMetadata json.RawMessage
}

// CreateContact creates a contact, once for an idempotency key. Without inboxes it is in the
// default bot's API inbox. An unknown inbox is NotFound. A source ID that another contact has in
// one of the inboxes is a Conflict.
func (i *Inboxes) CreateContact(ctx context.Context, organization uuid.UUID, fields ContactFields, key *store.IdempotencyKey) (Contact, error) {
	if err := bot.CheckQueryMetadata(apperr.InvalidRequest, "/queryMetadata", fields.QueryMetadata); err != nil {
		return Contact{}, err
	}
	inboxes, err := store.ParseIDs(fields.InboxIDs, noInbox)
	if err != nil {
		return Contact{}, err
	}
	created := db.CreateContactParams{
		OrganizationID: organization,
		ID:             store.IDOrNew(fields.ID),
		SourceID:       fields.SourceID,
		Name:           orEmpty(fields.Name),
		Avatar:         orEmpty(fields.Avatar),
		Email:          orEmpty(fields.Email),
		PhoneNumber:    orEmpty(fields.PhoneNumber),
		QueryMetadata:  fields.QueryMetadata,
	}
	return store.Idempotent(ctx, i.store, key, func(q *db.Queries) (Contact, error) {
		places := inboxes
		if len(places) == 0 {
			inbox, err := i.defaultInbox(ctx, q, organization)
			if err != nil {
				return Contact{}, err
			}
			places = []uuid.UUID{inbox.ID}
		}
		if err := q.CreateContact(ctx, created); err != nil {
			return Contact{}, err
		}
		if err := AddContact(ctx, q, organization, created.ID, places); err != nil {
			return Contact{}, err
		}
		row, err := q.GetContactWithInboxes(ctx, organization, created.ID)
		return Contact{Contact: row.Contact, InboxIDs: row.InboxIds, InboxNames: row.InboxNames}, err
	})
}

func (i *Inboxes) defaultInbox(ctx context.Context, q *db.Queries, organization uuid.UUID) (db.Inbox, error) {
	owner, err := i.bots.Within(q).Default(ctx, organization)
	if err != nil {
		return db.Inbox{}, err
	}
	inbox, err := q.GetAPIInbox(ctx, organization, owner.ID)
	return inbox, apperr.Rephrase(err, apperr.NotFound, noInbox)
}

// GetContact returns a contact.
func (i *Inboxes) GetContact(ctx context.Context, organization uuid.UUID, id string) (Contact, error) {
	contactID, err := store.ParseID(id, noContact)
	if err != nil {
		return Contact{}, err
	}
	row, err := i.store.GetContactWithInboxes(ctx, organization, contactID)
	return Contact{Contact: row.Contact, InboxIDs: row.InboxIds, InboxNames: row.InboxNames}, apperr.Rephrase(err, apperr.NotFound, noContact)
}

// GetContact returns a contact within a transaction, without its inboxes.
func GetContact(ctx context.Context, q *db.Queries, organization uuid.UUID, id string) (db.Contact, error) {
	contactID, err := store.ParseID(id, noContact)
	if err != nil {
		return db.Contact{}, err
	}
	found, err := q.GetContact(ctx, organization, contactID)
	return found, apperr.Rephrase(err, apperr.NotFound, noContact)
}

// ContactFilter selects the contacts that ListContacts returns. Its zero value selects all.
type ContactFilter struct {
	Search  *string // contained in the name or the source ID, ignoring case, or the ID
	InboxID *string
}

// ListContacts returns a page of contacts, newest first, and how many match. An unknown inbox is
// NotFound.
func (i *Inboxes) ListContacts(ctx context.Context, organization uuid.UUID, filter ContactFilter, limit, offset int) ([]Contact, int64, error) {
	search := db.CountContactsParams{OrganizationID: organization}
	if filter.Search != nil {
		search.Pattern = new(store.ContainsPattern(store.SearchText(*filter.Search)))
		if id, err := store.ParseID(strings.TrimSpace(*filter.Search), noContact); err == nil {
			search.ID = &id
		}
	}
	if filter.InboxID != nil {
		found, err := Get(ctx, i.store.Queries, organization, *filter.InboxID)
		if err != nil {
			return nil, 0, err
		}
		search.InboxID = &found.ID
	}
	var count int64
	var rows []db.ListContactsRow
	read := func(s *store.Store) (err error) {
		if count, err = s.CountContacts(ctx, search); err != nil {
			return err
		}
		rows, err = s.ListContacts(ctx, db.ListContactsParams{
			OrganizationID: organization,
			Pattern:        search.Pattern,
			ID:             search.ID,
			InboxID:        search.InboxID,
			PageLimit:      int32(limit),
			PageOffset:     int32(offset),
		})
		return err
	}
	var err error
	if search.Pattern != nil {
		err = i.store.Report(ctx, organization, read)
	} else {
		err = read(i.store)
	}
	contacts := make([]Contact, len(rows))
	for n, row := range rows {
		contacts[n] = Contact{Contact: row.Contact, InboxIDs: row.InboxIds, InboxNames: row.InboxNames}
	}
	return contacts, count, err
}

// UpdateContact changes a contact and returns it. The given inboxes, if any, replace the previous ones. Its errors
// are those of CreateContact.
func (i *Inboxes) UpdateContact(ctx context.Context, organization uuid.UUID, id string, change ContactFields) (Contact, error) {
	contactID, err := store.ParseID(id, noContact)
	if err != nil {
		return Contact{}, err
	}
	if err := bot.CheckQueryMetadata(apperr.InvalidRequest, "/queryMetadata", change.QueryMetadata); err != nil {
		return Contact{}, err
	}
	inboxes, err := store.ParseIDs(change.InboxIDs, noInbox)
	if err != nil {
		return Contact{}, err
	}
	var contact Contact
	err = i.store.InTx(ctx, func(q *db.Queries) error {
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
		if err := moveContact(ctx, q, organization, contactID, inboxes, change.SourceID != nil); err != nil {
			return err
		}
		row, err := q.GetContactWithInboxes(ctx, organization, contactID)
		contact = Contact{Contact: row.Contact, InboxIDs: row.InboxIds, InboxNames: row.InboxNames}
		return err
	})
	return contact, err
}

// moveContact puts a contact into the inboxes, or leaves it where it is if there are none, under
// its current source ID.
//
// The order matters for the uniqueness of source IDs: the contact leaves inboxes, then changes its
// source ID, then enters inboxes. An inbox that it does not end up in cannot cause a conflict.
func moveContact(ctx context.Context, q *db.Queries, organization, contact uuid.UUID, inboxes []uuid.UUID, hasNewSourceID bool) error {
	if len(inboxes) > 0 {
		if err := q.RemoveContactFromOtherInboxes(ctx, organization, contact, inboxes); err != nil {
			return err
		}
	}
	if hasNewSourceID {
		if err := q.UpdateContactInboxSourceIDs(ctx, organization, contact); err != nil {
			return err
		}
	}
	return AddContact(ctx, q, organization, contact, inboxes)
}

// AddContact adds a contact to inboxes. An unknown inbox is NotFound.
func AddContact(ctx context.Context, q *db.Queries, organization, contact uuid.UUID, inboxes []uuid.UUID) error {
	if len(inboxes) == 0 {
		return nil
	}
	known, err := q.AddContactToInboxes(ctx, organization, inboxes, contact)
	if err == nil && known < int64(len(inboxes)) {
		return apperr.New(apperr.NotFound, noInbox)
	}
	return err
}

// DeleteContact deletes a contact with all its conversations.
func (i *Inboxes) DeleteContact(ctx context.Context, organization uuid.UUID, id string) error {
	contactID, err := store.ParseID(id, noContact)
	if err != nil {
		return err
	}
	return i.store.InTx(ctx, func(q *db.Queries) error {
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
