package auth

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
)

// Subject is the user for whom a ticket or client token is issued, and its bounds.
type Subject struct {
	UserID uuid.UUID
	Bounds Bounds
}

// Bind determines the subject of a ticket or client token, in the transaction that issues it.
type Bind func(ctx context.Context, q *db.Queries) (Subject, error)

// Issued is a new ticket or client token. Its secret cannot be retrieved again.
type Issued struct {
	Secret    string
	ExpiresAt time.Time
	Subject   Subject
	Origin    string
	Scopes    []Scope
}

// grant is the content of a ticket or client token. It is encoded as the bytes of the struct,
// followed by the origin, which may be empty.
type grant struct {
	OrganizationID uuid.UUID
	KeyID          uuid.UUID // the API key that issued it
	UserID         uuid.UUID
	Conversation   uuid.UUID
	Bot            uuid.UUID
	Contact        uuid.UUID
	ExpiresAt      int64 // in microseconds since 1970
}

func newGrant(issuer Principal, subject Subject, expiresAt time.Time) grant {
	return grant{
		OrganizationID: issuer.OrganizationID,
		KeyID:          issuer.KeyID,
		UserID:         subject.UserID,
		Conversation:   subject.Bounds.Conversation,
		Bot:            subject.Bounds.Bot,
		Contact:        subject.Bounds.Contact,
		ExpiresAt:      expiresAt.UnixMicro(),
	}
}

func (g grant) encode(origin string) []byte {
	var buffer bytes.Buffer
	_ = binary.Write(&buffer, binary.BigEndian, g) // cannot fail: fixed size, in memory
	buffer.WriteString(origin)
	return buffer.Bytes()
}

func decodeGrant(encoded []byte) (g grant, origin string, err error) {
	n, err := binary.Decode(encoded, binary.BigEndian, &g)
	if err != nil {
		return grant{}, "", err
	}
	return g, string(encoded[n:]), nil
}

func (g grant) bounds() Bounds {
	return Bounds{Conversation: g.Conversation, Bot: g.Bot, Contact: g.Contact}
}

// issuer returns the principal of the API key that issued a ticket or client token. Without that
// key the grant is not valid.
func (a *Auth) issuer(ctx context.Context, g grant) (Principal, error) {
	name := g.OrganizationID.String() + " " + g.KeyID.String() // a prefix has no space
	key, err := a.keys.get(name, func() (db.GetAPIKeyByPrefixRow, error) {
		found, err := a.store.GetAPIKey(ctx, g.OrganizationID, g.KeyID)
		return db.GetAPIKeyByPrefixRow(found), err
	})
	if apperr.Is(err, apperr.NotFound) {
		return Principal{}, errInvalidCredential()
	}
	if err != nil {
		return Principal{}, err
	}
	return a.principal(ctx, key)
}
