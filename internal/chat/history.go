package chat

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/feed"
	"parley/internal/store"
)

// Range selects messages of a conversation. All bounds are exclusive; a nil bound is open.
type Range struct {
	Before, After       *time.Time
	BeforeSeq, AfterSeq *int64
	Limit               int
}

// isForward reports whether a range is read from its lower bound upwards.
func (r Range) isForward() bool { return r.After != nil || r.AfterSeq != nil }

// params returns the query of a range, with one message more than its limit.
func (r Range) params(organization, session uuid.UUID) db.ListHistoryBackwardParams {
	params := db.ListHistoryBackwardParams{
		OrganizationID: organization,
		SessionID:      session,
		BeforeSeq:      math.MaxInt64,
		PageLimit:      int32(r.Limit) + 1,
	}
	if r.AfterSeq != nil {
		params.AfterSeq = *r.AfterSeq
	}
	if r.BeforeSeq != nil {
		params.BeforeSeq = *r.BeforeSeq
	}
	// The database's times have microseconds: exclusive bounds become inclusive ones.
	if r.After != nil {
		params.Since = new(r.After.Truncate(time.Microsecond).Add(time.Microsecond))
	}
	if r.Before != nil {
		params.Until = new(r.Before.Add(time.Microsecond - 1).Truncate(time.Microsecond))
	}
	return params
}

// StoredMessage is a message as PostgreSQL sends it. Its bytes are valid until the next message is
// read. JSON columns are nil if they are NULL.
type StoredMessage struct {
	ID                    uuid.UUID
	Seq                   int64
	Sender, Content       []byte
	CreatedAt             time.Time
	Attachments, Metadata []byte
}

// StoredHistory reads messages of a conversation that the caller may read, and calls add with each. With a lower
// bound (isForward), it reads the oldest messages of the range, oldest first; otherwise the newest, newest first.
// hasMore reports whether the range has more. A page of long messages has fewer than the limit.
//
// The conversation and its messages are read in one round trip, and the caller's access is checked before the first
// call of add.
func (c *Chat) StoredHistory(ctx context.Context, caller auth.Principal, id string, wanted Range, add func(StoredMessage) error) (isForward, hasMore bool, err error) {
	sessionID, err := store.ParseID(id, noConversation)
	if err != nil {
		return false, false, err
	}
	params, isForward := wanted.params(caller.OrganizationID, sessionID), wanted.isForward()
	exists, read, bytesLeft := false, 0, feed.PageBytes // a conversation that does not exist has no messages
	err = c.store.ReadRaw(ctx, func(q *db.Queries) {
		_, _ = q.GetSessionAccess(ctx, caller.OrganizationID, sessionID)
		if isForward {
			_, _ = q.ListHistoryForward(ctx, db.ListHistoryForwardParams(params))
		} else {
			_, _ = q.ListHistoryBackward(ctx, params)
		}
	}, func(query int, columns [][]byte) error {
		if query == 0 {
			exists = true
			of, err := decodeOwnership(columns)
			if err != nil {
				return err
			}
			of.conversation = sessionID
			return checkRead(caller, of)
		}
		if read++; read > wanted.Limit || bytesLeft <= 0 {
			hasMore = true
			return nil
		}
		for _, column := range columns {
			bytesLeft -= len(column)
		}
		message, err := decodeMessage(columns)
		if err != nil {
			return err
		}
		return add(message)
	})
	if err == nil && !exists {
		err = apperr.New(apperr.NotFound, noConversation)
	}
	return isForward, hasMore, err
}

// decodeOwnership decodes a row of GetSessionAccess.
func decodeOwnership(columns [][]byte) (ownership, error) {
	if len(columns) != 3 || len(columns[0]) != 16 || len(columns[1]) != 16 || len(columns[2]) != 16 {
		return ownership{}, errNotBinary
	}
	return ownership{owner: uuid.UUID(columns[0]), bot: uuid.UUID(columns[1]), contact: uuid.UUID(columns[2])}, nil
}

// decodeMessage decodes a row of ListHistoryForward or ListHistoryBackward.
func decodeMessage(columns [][]byte) (StoredMessage, error) {
	if len(columns) != 7 || len(columns[0]) != 16 || len(columns[1]) != 8 || len(columns[4]) != 8 {
		return StoredMessage{}, errNotBinary
	}
	return StoredMessage{
		ID:      uuid.UUID(columns[0]),
		Seq:     int64(binary.BigEndian.Uint64(columns[1])),
		Sender:  columns[2],
		Content: columns[3],
		// PostgreSQL counts microseconds since 2000.
		CreatedAt:   time.UnixMicro(int64(binary.BigEndian.Uint64(columns[4])) + epoch2000),
		Attachments: columns[5],
		Metadata:    columns[6],
	}, nil
}

const epoch2000 = 946_684_800_000_000 // Unix microseconds

// errNotBinary is returned for a row in a format that no connection of PostgreSQL's extended
// protocol sends.
var errNotBinary = errors.New("a row is not in PostgreSQL's binary format")
