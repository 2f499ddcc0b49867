package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/realtime"
	"parley/internal/store"
)

const (
	ticketPrefix = "wst_"
	// ticketTTL is how long a ticket can be used.
	ticketTTL = time.Minute
)

// CreateTicket issues a ticket that authenticates as the issuer, within the subject's bounds, once
// and within a minute. A repeated request returns a Conflict error.
func (a *Auth) CreateTicket(ctx context.Context, issuer Principal, key *store.IdempotencyKey, bind Bind) (Issued, error) {
	return store.IdempotentSecret(ctx, a.store, key, func(q *db.Queries) (Issued, error) {
		subject, err := bind(ctx, q)
		if err != nil {
			return Issued{}, err
		}
		random := make([]byte, 24)
		rand.Read(random) // never fails (crypto/rand)
		ticket := ticketPrefix + base64.RawURLEncoding.EncodeToString(random)
		expiresAt := time.Now().Add(ticketTTL)
		// The ticket is stored before the commit, after which nothing may fail. If the transaction
		// rolls back, nobody learns the ticket and it expires.
		if err := a.storeTicket(ctx, ticket, newGrant(issuer, subject, expiresAt)); err != nil {
			return Issued{}, err
		}
		return Issued{Secret: ticket, ExpiresAt: expiresAt, Subject: subject, Scopes: issuer.Scopes}, nil
	})
}

func (a *Auth) storeTicket(ctx context.Context, ticket string, g grant) error {
	err := a.tickets.Put(ctx, realtime.Owner{Organization: g.OrganizationID, User: g.UserID}, ticketKey(ticket), string(g.encode("")), ticketTTL)
	if errors.Is(err, realtime.ErrFull) {
		return &apperr.Error{Kind: apperr.Unavailable, Message: "Too many tickets were issued within a minute. Retry later.", RetryAfter: 10 * time.Second, Err: err}
	}
	return err
}

// ticketKey returns the storage key of a ticket. It contains only the hash, so that a reader of the
// storage cannot use the ticket.
func ticketKey(ticket string) string {
	hash := sha256.Sum256([]byte(ticket))
	return "ticket:" + hex.EncodeToString(hash[:])
}

// TakeTicket consumes a ticket and returns the principal that it authenticates. A ticket that is
// used, expired or unknown, or whose issuer's key is no longer valid, is Unauthorized.
func (a *Auth) TakeTicket(ctx context.Context, ticket string) (Principal, error) {
	encoded, ok, err := a.tickets.Take(ctx, ticketKey(ticket))
	if errors.Is(err, realtime.ErrUnavailable) {
		return Principal{}, apperr.Wrap(apperr.Unavailable, "The ticket cannot be verified at the moment. Retry with a new ticket.", err)
	}
	if err != nil {
		return Principal{}, fmt.Errorf("take ticket: %w", err)
	}
	if !ok {
		return Principal{}, errInvalidCredential()
	}
	granted, _, err := decodeGrant([]byte(encoded))
	if err != nil {
		return Principal{}, err
	}
	principal, err := a.issuer(ctx, granted)
	principal.Bounds = granted.bounds()
	return principal, err
}
