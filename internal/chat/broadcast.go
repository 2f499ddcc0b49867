package chat

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/inbox"
	"parley/internal/store"
)

const (
	// MaxBroadcast is how many contacts a broadcast can have.
	MaxBroadcast = 10_000
	// broadcastBatch is how many contacts are looked up at once.
	broadcastBatch = 1_000
	// broadcastWorkers is how many messages of a broadcast are stored at once, so that they share
	// commits and leave room for others.
	broadcastWorkers = 16
)

// Broadcast is a message to many contacts: those that are named, or those in an inbox.
type Broadcast struct {
	Message  string
	Contacts []string // ids; nil if InboxID is given
	InboxID  *string
	Excluded []string // ids of contacts in the inbox
}

// Delivery is the outcome of a broadcast for one contact.
type Delivery struct {
	Contact      string // id as it was sent
	Conversation uuid.UUID
	Message      uuid.UUID
	Refusal      string // why the contact did not get the message; empty if it did
}

// Broadcast sends a message of the staff to contacts, each in the conversation with the latest
// activity, and returns the outcome for each contact in their order.
//
// Each message is committed by itself. A failure of the database ends the broadcast with an error.
// Repeating it under its idempotency key then sends only the messages that are missing.
func (c Contacts) Broadcast(ctx context.Context, caller auth.Principal, b Broadcast, key *store.IdempotencyKey) ([]Delivery, error) {
	if err := c.checkBroadcast(b); err != nil {
		return nil, err
	}
	if done, isDone, err := store.Replay[[]Delivery](ctx, c.chat.store, key); isDone || err != nil {
		return done, err
	}
	deliveries, err := c.recipients(ctx, caller, b)
	if err != nil {
		return nil, err
	}
	// From here on, the key belongs to this request, also if it is interrupted.
	if err := store.Reserve(ctx, c.chat.store, key.Within("begun")); err != nil {
		return nil, err
	}
	for start := 0; start < len(deliveries); start += broadcastBatch {
		batch := deliveries[start:min(start+broadcastBatch, len(deliveries))]
		if err := c.findLatest(ctx, caller, batch); err != nil {
			return nil, err
		}
		if err := c.deliver(ctx, caller, b.Message, batch, key); err != nil {
			return nil, err
		}
	}
	return store.Idempotent(ctx, c.chat.store, key, func(*db.Queries) ([]Delivery, error) { return deliveries, nil })
}

func (c Contacts) checkBroadcast(b Broadcast) error {
	switch {
	case strings.TrimSpace(b.Message) == "":
		return apperr.Field(apperr.InvalidMessage, "/message", "must not be blank")
	case utf8.RuneCountInString(b.Message) > c.chat.maxContent:
		return ErrTooLong("/message", c.chat.maxContent)
	case (b.Contacts == nil) == (b.InboxID == nil):
		return apperr.Field(apperr.InvalidRequest, "/contact_ids", "must be given if inbox_id is absent, and must be absent otherwise")
	case b.Contacts != nil && len(b.Excluded) > 0:
		return apperr.Field(apperr.InvalidRequest, "/exclude_contact_ids", "can only be combined with inbox_id")
	}
	return nil
}

// recipients returns a Delivery for each contact, without its outcome.
func (c Contacts) recipients(ctx context.Context, caller auth.Principal, b Broadcast) ([]Delivery, error) {
	ids := b.Contacts
	if b.InboxID != nil {
		found, err := inbox.Get(ctx, c.chat.store.Queries, caller.OrganizationID, *b.InboxID)
		if err != nil {
			return nil, err
		}
		members, err := c.chat.store.ListInboxContactIDs(ctx, db.ListInboxContactIDsParams{
			OrganizationID: caller.OrganizationID, InboxID: found.ID, Excluded: validIDs(b.Excluded), PageLimit: MaxBroadcast + 1,
		})
		if err != nil {
			return nil, err
		}
		if len(members) > MaxBroadcast {
			return nil, apperr.Field(apperr.InvalidRequest, "/inbox_id", fmt.Sprintf("must be an inbox with at most %d contacts", MaxBroadcast))
		}
		for _, member := range members {
			ids = append(ids, member.String())
		}
	}
	known := make(map[string]bool, len(ids))
	deliveries := make([]Delivery, 0, len(ids))
	for _, id := range ids {
		if same := strings.ToLower(id); !known[same] {
			known[same] = true
			deliveries = append(deliveries, Delivery{Contact: id})
		}
	}
	return deliveries, nil
}

// validIDs returns the IDs that a contact can have.
func validIDs(texts []string) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(texts))
	for _, text := range texts {
		if id, err := store.ParseID(text, ""); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// findLatest sets the conversation of each delivery, or why it has none.
func (c Contacts) findLatest(ctx context.Context, caller auth.Principal, batch []Delivery) error {
	contacts := make([]string, len(batch))
	for i := range batch {
		contacts[i] = batch[i].Contact
	}
	rows, err := c.chat.store.ListLatestConversations(ctx, caller.OrganizationID, validIDs(contacts))
	if err != nil {
		return err
	}
	latest := make(map[string]uuid.UUID, len(rows))
	for _, row := range rows {
		latest[row.ContactID.String()] = row.SessionID
	}
	for i := range batch {
		session, isKnown := latest[strings.ToLower(batch[i].Contact)]
		switch {
		case !isKnown:
			batch[i].Refusal = "There is no such contact."
		case session == uuid.Nil:
			batch[i].Refusal = noContactConversation
		default:
			batch[i].Conversation = session
		}
	}
	return nil
}

// deliver stores the message in the conversations of a batch. It returns the first error other than
// a refusal.
func (c Contacts) deliver(ctx context.Context, caller auth.Principal, message string, batch []Delivery, key *store.IdempotencyKey) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(broadcastWorkers, len(batch)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(batch) {
					return
				}
				if err := c.send(ctx, caller, message, &batch[i], key); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

func (c Contacts) send(ctx context.Context, caller auth.Principal, message string, to *Delivery, key *store.IdempotencyKey) error {
	if to.Refusal != "" {
		return nil
	}
	sent, err := c.chat.Post(ctx, caller, to.Conversation.String(), true, NewMessage{
		Content: message, IdempotencyKey: key.Within("to " + strings.ToLower(to.Contact)),
	})
	if apperr.Is(err, apperr.NotFound) { // deleted meanwhile
		to.Refusal = noContactConversation
		return nil
	}
	if err != nil {
		return err
	}
	// A repeat finds the message where it was stored.
	to.Conversation, to.Message = sent.ConversationID, sent.MessageID
	return nil
}
