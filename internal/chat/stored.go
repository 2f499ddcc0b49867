package chat

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
)

// StoredMessage is a message as PostgreSQL sends it. Its bytes are good until the next
// one comes; the free texts of JSON are nil where there are none.
type StoredMessage struct {
	ID                    uuid.UUID
	Seq                   int64
	Sender, Content       []byte
	CreatedAt             time.Time
	Attachments, Metadata []byte
}

// StoredHistory is History for whoever makes bytes of it at once: it calls add with each
// message in the order in which they are read, newest first where there is no lower
// bound, which isForward tells. The conversation and its page are read in one round trip.
func (c *Chat) StoredHistory(ctx context.Context, who auth.Principal, id string, wanted Range, add func(StoredMessage) error) (isForward, hasMore bool, err error) {
	sessionID, err := parseID(id, noConversation)
	if err != nil {
		return false, false, err
	}
	page := pageOfHistory(who.OrganizationID, sessionID, wanted)
	isForward = wanted.isForward()
	isThere, read, left := false, 0, pageBytes // without its conversation there is no message
	err = c.store.ReadRaw(ctx, func(q *db.Queries) {
		_, _ = q.GetSessionAccess(ctx, who.OrganizationID, sessionID)
		_, _ = readHistory(ctx, q, page, isForward)
	}, func(query int, columns [][]byte) error {
		if query == 0 {
			isThere = true
			of, err := readBelonging(columns)
			if err != nil {
				return err
			}
			of.conversation = sessionID
			return mayRead(who, of)
		}
		if read++; read > wanted.Limit || left <= 0 {
			hasMore = true
			return nil
		}
		for _, column := range columns {
			left -= len(column)
		}
		message, err := readStored(columns)
		if err != nil {
			return err
		}
		return add(message)
	})
	if err == nil && !isThere {
		err = apperr.New(apperr.NotFound, noConversation)
	}
	return isForward, hasMore, err
}

// readBelonging reads a row of GetSessionAccess.
func readBelonging(columns [][]byte) (belonging, error) {
	if len(columns) != 3 || len(columns[0]) != 16 || len(columns[1]) != 16 || len(columns[2]) != 16 {
		return belonging{}, errNotBinary
	}
	return belonging{owner: uuid.UUID(columns[0]), bot: uuid.UUID(columns[1]), contact: uuid.UUID(columns[2])}, nil
}

// readStored reads a row of ListHistoryForward or ListHistoryBackward.
func readStored(columns [][]byte) (StoredMessage, error) {
	if len(columns) != 7 || len(columns[0]) != 16 || len(columns[1]) != 8 || len(columns[4]) != 8 {
		return StoredMessage{}, errNotBinary
	}
	return StoredMessage{
		ID:      uuid.UUID(columns[0]),
		Seq:     int64(binary.BigEndian.Uint64(columns[1])),
		Sender:  columns[2],
		Content: columns[3],
		// Microseconds since 2000.
		CreatedAt:   time.UnixMicro(int64(binary.BigEndian.Uint64(columns[4])) + microsOf2000),
		Attachments: columns[5],
		Metadata:    columns[6],
	}, nil
}

const microsOf2000 = 946_684_800_000_000

// errNotBinary is for what no connection does that speaks PostgreSQL's extended protocol.
var errNotBinary = errors.New("a row is not in PostgreSQL's binary form")
