// Package auth authenticates callers by API key, client token or ticket. It issues all three and
// revokes API keys.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/realtime"
	"parley/internal/secret"
	"parley/internal/store"
)

// Auth authenticates callers. It is safe for concurrent use.
type Auth struct {
	store   *store.Store
	signer  *secret.Signer         // of client tokens; nil: none can be created
	tickets *realtime.OneTimeStore // the grants of tickets, by the ticket's hash
	keys    keyCache
}

// Option configures New.
type Option func(*Auth)

// WithKeys enables client tokens. They are signed with keys derived from the given ones.
func WithKeys(keys *secret.Keys) Option {
	return func(a *Auth) { a.signer = keys.Signer("client token 1") }
}

// WithTickets keeps tickets in a store shared by all instances. Without it only the Auth that
// issued a ticket accepts it.
func WithTickets(tickets *realtime.OneTimeStore) Option {
	return func(a *Auth) { a.tickets = tickets }
}

// New returns an Auth for the API keys in the store.
func New(store *store.Store, options ...Option) *Auth {
	a := &Auth{store: store, tickets: realtime.NewOneTimeStore(nil)}
	for _, set := range options {
		set(a)
	}
	return a
}

// Authenticate returns the principal of an Authorization header: `Api-Key <key>`, `Bearer <key>` or
// `Bearer <client token>`, with the scheme in any case. For any other header, and for an unknown,
// revoked or expired credential, it returns the same Unauthorized error.
func (a *Auth) Authenticate(ctx context.Context, header string) (Principal, error) {
	if header == "" {
		return Principal{}, apperr.New(apperr.Unauthorized,
			"Send an API key as `Authorization: Api-Key <key>` or `Authorization: Bearer <key>`, or a client token as `Authorization: Bearer <token>`.")
	}
	scheme, credential, _ := strings.Cut(header, " ")
	credential = strings.TrimSpace(credential)
	isBearer := strings.EqualFold(scheme, "Bearer")
	if isBearer && isToken(credential) {
		return a.authenticateToken(ctx, credential)
	}
	prefix, secret := splitKey(credential)
	// A prefix with other characters cannot exist, and PostgreSQL would reject some of them as
	// text.
	if !isBearer && !strings.EqualFold(scheme, "Api-Key") || secret == "" || !isVisibleASCII(prefix) {
		return Principal{}, errInvalidCredential()
	}
	key, err := a.keys.get(prefix, func() (db.GetAPIKeyByPrefixRow, error) { return a.store.GetAPIKeyByPrefix(ctx, prefix) })
	if apperr.Is(err, apperr.NotFound) {
		return Principal{}, errInvalidCredential()
	}
	if err != nil {
		return Principal{}, err
	}
	hash := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(hash[:], key.SecretHash) != 1 {
		return Principal{}, errInvalidCredential()
	}
	return a.principal(ctx, key)
}

// principal returns the principal of an API key and records the use of the key.
func (a *Auth) principal(ctx context.Context, key db.GetAPIKeyByPrefixRow) (Principal, error) {
	if key.NeedsTouch {
		if err := a.store.TouchAPIKey(ctx, key.OrganizationID, key.ID); err != nil {
			return Principal{}, err
		}
	}
	principal := Principal{
		OrganizationID:   key.OrganizationID,
		OrganizationName: key.OrganizationName,
		UserID:           key.UserID,
		UserName:         key.UserName,
		KeyID:            key.ID,
		ExpiresAt:        key.ExpiresAt,
		RateLimits:       KeyLimits{limitOf(key.MessagesLimit), limitOf(key.HistoryLimit), limitOf(key.ListLimit)},
	}
	for _, scope := range key.Scopes {
		principal.Scopes = append(principal.Scopes, Scope(scope))
	}
	return principal, nil
}

func limitOf(column *int32) int {
	if column == nil {
		return 0
	}
	return int(*column)
}

func errInvalidCredential() error {
	return apperr.New(apperr.Unauthorized, "The API key, token or ticket is not valid.")
}

func isVisibleASCII(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}
