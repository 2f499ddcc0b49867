package auth

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/origin"
	"parley/internal/store"
)

const (
	tokenPrefix = "pct_" // followed by base64url, which has no dot; every API key has one
	// defaultTokenTTL is the lifetime of a client token when none is requested.
	defaultTokenTTL = 15 * time.Minute
)

// CreateToken issues a client token for a subject, with the scope chat. It expires after the
// lifetime (0: 15 minutes), and no later than the issuer. With the origin of a page, only pages of that origin
// may use it. A repeated request returns a Conflict error.
func (a *Auth) CreateToken(ctx context.Context, issuer Principal, lifetime time.Duration, page string, key *store.IdempotencyKey, bind Bind) (Issued, error) {
	if a.signer == nil {
		return Issued{}, errors.New("no key to sign client tokens")
	}
	if page != "" {
		parsed, err := origin.ParseExact(page)
		if err != nil {
			return Issued{}, apperr.Field(apperr.InvalidRequest, "/origin", err.Error())
		}
		page = parsed
	}
	return store.IdempotentSecret(ctx, a.store, key, func(q *db.Queries) (Issued, error) {
		subject, err := bind(ctx, q)
		if err != nil {
			return Issued{}, err
		}
		expiresAt := time.Now().Add(cmp.Or(lifetime, defaultTokenTTL))
		if issuer.ExpiresAt != nil && issuer.ExpiresAt.Before(expiresAt) {
			expiresAt = *issuer.ExpiresAt
		}
		signed := a.signer.Sign(newGrant(issuer, subject, expiresAt).encode(page))
		return Issued{
			Secret:    tokenPrefix + base64.RawURLEncoding.EncodeToString(signed),
			ExpiresAt: expiresAt,
			Subject:   subject,
			Origin:    page,
			Scopes:    []Scope{Chat},
		}, nil
	})
}

// isToken reports whether a credential is a client token rather than an API key.
func isToken(credential string) bool {
	return strings.HasPrefix(credential, tokenPrefix) && !strings.Contains(credential, ".")
}

func (a *Auth) authenticateToken(ctx context.Context, token string) (Principal, error) {
	signed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, tokenPrefix))
	if err != nil || a.signer == nil {
		return Principal{}, errInvalidCredential()
	}
	message, err := a.signer.Open(signed)
	if err != nil {
		return Principal{}, errInvalidCredential()
	}
	granted, page, err := decodeGrant(message)
	if err != nil {
		return Principal{}, err // the signature is valid, so the content should be too
	}
	expiresAt := time.UnixMicro(granted.ExpiresAt)
	if !time.Now().Before(expiresAt) {
		return Principal{}, errInvalidCredential()
	}
	principal, err := a.issuer(ctx, granted)
	if err != nil {
		return Principal{}, err
	}
	if principal.UserID != granted.UserID {
		principal.UserID, principal.UserName = granted.UserID, ""
	}
	principal.Scopes = []Scope{Chat}
	principal.Bounds = granted.bounds()
	principal.IsClientToken = true
	principal.Origin = page
	principal.RateLimits = KeyLimits{} // each visitor has the limits of the classes
	if principal.ExpiresAt == nil || principal.ExpiresAt.After(expiresAt) {
		principal.ExpiresAt = &expiresAt
	}
	return principal, nil
}
