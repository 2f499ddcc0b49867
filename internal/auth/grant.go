package auth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/realtime"
	"parley/internal/store"
)

const (
	tokenPrefix  = "pct_" // and no dot, which every key has
	ticketPrefix = "wst_"
	// tokenTime is how long a client token lives where nothing is said.
	tokenTime = 15 * time.Minute
	// ticketTime is how long a ticket can be taken.
	ticketTime = time.Minute
)

// Subject is whom a ticket or a client token lets converse, and where.
type Subject struct {
	UserID uuid.UUID
	Bounds Bounds
}

// Bind finds what a ticket or a client token is for, in the transaction that makes it.
type Bind func(ctx context.Context, q *db.Queries) (Subject, error)

// Issued is a ticket or a client token, which cannot be had again.
type Issued struct {
	Secret    string
	ExpiresAt time.Time
	Subject   Subject
	Origin    string
	Scopes    []Scope
}

// grant is what a ticket or a client token says: its bytes are those of the struct, and
// after them the origin, empty for none.
type grant struct {
	OrganizationID uuid.UUID
	KeyID          uuid.UUID
	UserID         uuid.UUID
	Conversation   uuid.UUID
	Bot            uuid.UUID
	Contact        uuid.UUID
	ExpiresAt      int64 // in microseconds since 1970
}

func (g grant) append(origin string) []byte {
	var buffer bytes.Buffer
	_ = binary.Write(&buffer, binary.BigEndian, g) // of fixed size, and to memory
	buffer.WriteString(origin)
	return buffer.Bytes()
}

func readGrant(from []byte) (g grant, origin string, err error) {
	n, err := binary.Decode(from, binary.BigEndian, &g)
	if err != nil {
		return grant{}, "", err
	}
	return g, string(from[n:]), nil
}

func grantOf(who Principal, subject Subject, until time.Time) grant {
	return grant{
		OrganizationID: who.OrganizationID,
		KeyID:          who.KeyID,
		UserID:         subject.UserID,
		Conversation:   subject.Bounds.Conversation,
		Bot:            subject.Bounds.Bot,
		Contact:        subject.Bounds.Contact,
		ExpiresAt:      until.UnixMicro(),
	}
}

func (g grant) bounds() Bounds {
	return Bounds{Conversation: g.Conversation, Bot: g.Bot, Contact: g.Contact}
}

// CreateToken makes a client token that speaks for the subject with the scope chat, for
// a lifetime, of 15 minutes where it is 0, but not beyond the caller's own end, and for pages of an origin alone where
// one is given. A repeated request is a Conflict.
func (a *Auth) CreateToken(ctx context.Context, who Principal, lifetime time.Duration, origin string, once *store.IdempotencyKey, bind Bind) (Issued, error) {
	if a.signer == nil {
		return Issued{}, errors.New("there is no key to sign client tokens with")
	}
	origin = plainOrigin(origin)
	return store.IdempotentSecret(ctx, a.store, once, func(q *db.Queries) (Issued, error) {
		subject, err := bind(ctx, q)
		if err != nil {
			return Issued{}, err
		}
		until := time.Now().Add(cmp.Or(lifetime, tokenTime))
		if who.ExpiresAt != nil && who.ExpiresAt.Before(until) {
			until = *who.ExpiresAt
		}
		signed := a.signer.Sign(grantOf(who, subject, until).append(origin))
		return Issued{
			Secret:    tokenPrefix + base64.RawURLEncoding.EncodeToString(signed),
			ExpiresAt: until,
			Subject:   subject,
			Origin:    origin,
			Scopes:    []Scope{Chat},
		}, nil
	})
}

// plainOrigin is an origin as browsers write it: in lower case, without the port that
// its scheme has anyway.
func plainOrigin(origin string) string {
	origin = strings.ToLower(origin)
	if rest, ok := strings.CutPrefix(origin, "https:"); ok {
		return "https:" + strings.TrimSuffix(rest, ":443")
	}
	return strings.TrimSuffix(origin, ":80")
}

// isToken tells a client token from a key.
func isToken(text string) bool {
	return strings.HasPrefix(text, tokenPrefix) && !strings.Contains(text, ".")
}

func (a *Auth) authenticateToken(ctx context.Context, token string) (Principal, error) {
	signed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, tokenPrefix))
	if err != nil || a.signer == nil {
		return Principal{}, refused()
	}
	message, err := a.signer.Open(signed)
	if err != nil {
		return Principal{}, refused()
	}
	granted, origin, err := readGrant(message)
	if err != nil {
		return Principal{}, err // signed by us, and not of ours
	}
	until := time.UnixMicro(granted.ExpiresAt)
	if !time.Now().Before(until) {
		return Principal{}, refused()
	}
	who, err := a.grantor(ctx, granted)
	if err != nil {
		return Principal{}, err
	}
	if who.UserID != granted.UserID {
		who.UserID, who.UserName = granted.UserID, ""
	}
	who.Scopes = []Scope{Chat}
	who.Bounds = granted.bounds()
	who.IsClientToken = true
	who.Origin = origin
	if who.ExpiresAt == nil || who.ExpiresAt.After(until) {
		who.ExpiresAt = &until
	}
	return who, nil
}

// grantor is who has made a ticket or a client token: it ends with the key.
func (a *Auth) grantor(ctx context.Context, granted grant) (Principal, error) {
	name := granted.OrganizationID.String() + " " + granted.KeyID.String() // which no prefix can be
	key, err := a.known.find(name, func() (db.GetAPIKeyByPrefixRow, error) {
		found, err := a.store.GetAPIKey(ctx, granted.OrganizationID, granted.KeyID)
		return db.GetAPIKeyByPrefixRow(found), err
	})
	if apperr.Is(err, apperr.NotFound) {
		return Principal{}, refused()
	}
	if err != nil {
		return Principal{}, err
	}
	return a.speaker(ctx, key)
}

// CreateTicket makes a ticket that stands for the caller within the subject's bounds,
// once, within a minute. A repeated request is a Conflict.
func (a *Auth) CreateTicket(ctx context.Context, who Principal, once *store.IdempotencyKey, bind Bind) (Issued, error) {
	return store.IdempotentSecret(ctx, a.store, once, func(q *db.Queries) (Issued, error) {
		subject, err := bind(ctx, q)
		if err != nil {
			return Issued{}, err
		}
		random := make([]byte, 24)
		_, _ = rand.Read(random) // never fails
		ticket := ticketPrefix + base64.RawURLEncoding.EncodeToString(random)
		until := time.Now().Add(ticketTime)
		// Put before the commit, after which nothing may fail: a ticket that nobody is
		// told of ends by itself.
		if err := a.keepTicket(ctx, ticket, grantOf(who, subject, until)); err != nil {
			return Issued{}, err
		}
		return Issued{Secret: ticket, ExpiresAt: until, Subject: subject, Scopes: who.Scopes}, nil
	})
}

func (a *Auth) keepTicket(ctx context.Context, ticket string, granted grant) error {
	err := a.tickets.Put(ctx, ticketKey(ticket), string(granted.append("")), ticketTime)
	if errors.Is(err, realtime.ErrFull) {
		return &apperr.Error{Kind: apperr.Unavailable, Message: "Too many tickets were made within a minute; try again later.", RetryAfter: 10 * time.Second, Err: err}
	}
	return err
}

// ticketKey is what a ticket is kept under: who reads it cannot use the ticket.
func ticketKey(ticket string) string {
	hash := sha256.Sum256([]byte(ticket))
	return "ticket:" + hex.EncodeToString(hash[:])
}

// TakeTicket finds who has made a ticket, and uses it up. One that is used, expired or
// unknown, or whose key has ended, is Unauthorized.
func (a *Auth) TakeTicket(ctx context.Context, ticket string) (Principal, error) {
	kept, ok, err := a.tickets.Take(ctx, ticketKey(ticket))
	if errors.Is(err, realtime.ErrUnavailable) {
		return Principal{}, apperr.Wrap(apperr.Unavailable, "The ticket cannot be looked up at the moment; try another one.", err)
	}
	if err != nil {
		return Principal{}, fmt.Errorf("take a ticket: %w", err)
	}
	if !ok {
		return Principal{}, refused()
	}
	granted, _, err := readGrant([]byte(kept))
	if err != nil {
		return Principal{}, err
	}
	who, err := a.grantor(ctx, granted)
	who.Bounds = granted.bounds()
	return who, err
}
