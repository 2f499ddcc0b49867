// Package auth knows who is asking: it turns a key, a client token or a ticket into a
// principal, issues them, and revokes keys.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/realtime"
	"parley/internal/secret"
	"parley/internal/store"
)

// Scope is something that a key allows.
type Scope string

// The scopes (contract, section 3).
const (
	Chat         Scope = "chat"  // converse, and read one's own conversations
	Agent        Scope = "agent" // the whole organization's conversations
	RecordsRead  Scope = "records:read"
	RecordsWrite Scope = "records:write"
	Manage       Scope = "manage" // chatbots, FAQs, web chats, inboxes, contacts
	Admin        Scope = "admin"  // everything, and keys
)

// Principal is who is asking: a user of an organization, and what the key, or what
// was made with it, allows.
type Principal struct {
	OrganizationID   uuid.UUID
	OrganizationName string
	UserID           uuid.UUID
	UserName         string
	KeyID            uuid.UUID // of the key that speaks, or that has made what does
	Scopes           []Scope
	ExpiresAt        *time.Time // when the key or the token ends; nil: never
	Bounds           Bounds     // all that is open to the caller
	IsClientToken    bool       // a client token speaks, not a key
	Origin           string     // of the only pages that may ask; empty: anybody may
}

// Has tells whether the key allows a scope; admin allows every one.
func (p Principal) Has(scope Scope) bool {
	return slices.Contains(p.Scopes, scope) || slices.Contains(p.Scopes, Admin)
}

// IsAnonymous tells that nobody was authenticated.
func (p Principal) IsAnonymous() bool { return p.OrganizationID == uuid.Nil }

// IsStaff tells whether the whole organization's conversations are open to the
// caller.
func (p Principal) IsStaff() bool { return p.Has(Agent) }

// Auth authenticates callers. It is safe for concurrent use.
type Auth struct {
	store  *store.Store
	signer *secret.Signer // of client tokens; nil: there are none
	// tickets keeps who has made a ticket, by the ticket's hash.
	tickets *realtime.OneTimeStore
	known   knownKeys
}

// Option is what an Auth may have besides a store.
type Option func(*Auth)

// WithKeys lets client tokens be made, signed under keys that are derived from these.
func WithKeys(keys *secret.Keys) Option {
	return func(a *Auth) { a.signer = keys.Signer("client token 1") }
}

// WithTickets lets tickets be taken by every instance that shares this store; without it they can
// be taken by this Auth alone.
func WithTickets(tickets *realtime.OneTimeStore) Option {
	return func(a *Auth) { a.tickets = tickets }
}

// New makes an Auth over the keys in the store.
func New(store *store.Store, options ...Option) *Auth {
	a := &Auth{store: store, tickets: realtime.NewOneTimeStore(nil)}
	for _, set := range options {
		set(a)
	}
	return a
}

// Authenticate finds who an Authorization header speaks for: `Api-Key <key>`,
// `Bearer <key>` or `Bearer <client token>`, the scheme in any case. Anything else,
// and what is unknown, revoked or expired, is Unauthorized, always in the same words.
func (a *Auth) Authenticate(ctx context.Context, header string) (Principal, error) {
	if header == "" {
		return Principal{}, apperr.New(apperr.Unauthorized, "An API key is required, as `Authorization: Api-Key <key>` or `Authorization: Bearer <key>`, or a client token in its place.")
	}
	scheme, key, _ := strings.Cut(header, " ")
	key = strings.TrimSpace(key)
	if strings.EqualFold(scheme, "Bearer") && isToken(key) {
		return a.authenticateToken(ctx, key)
	}
	prefix, secret, isKey := strings.Cut(key, ".")
	isScheme := strings.EqualFold(scheme, "Api-Key") || strings.EqualFold(scheme, "Bearer")
	// What PostgreSQL would refuse as text cannot be a key's prefix either.
	if !isScheme || !isKey || !isVisible(prefix) {
		return Principal{}, refused()
	}
	found, err := a.known.find(prefix, func() (db.GetAPIKeyByPrefixRow, error) { return a.store.GetAPIKeyByPrefix(ctx, prefix) })
	if apperr.Is(err, apperr.NotFound) {
		return Principal{}, refused()
	}
	if err != nil {
		return Principal{}, err
	}
	hash := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(hash[:], found.SecretHash) != 1 {
		return Principal{}, refused()
	}
	return a.speaker(ctx, found)
}

// speaker is the user for whom a key speaks, and notes that it was used.
func (a *Auth) speaker(ctx context.Context, key db.GetAPIKeyByPrefixRow) (Principal, error) {
	if key.NeedsTouch {
		if err := a.store.TouchAPIKey(ctx, key.OrganizationID, key.ID); err != nil {
			return Principal{}, err
		}
	}
	who := Principal{
		OrganizationID:   key.OrganizationID,
		OrganizationName: key.OrganizationName,
		UserID:           key.UserID,
		UserName:         key.UserName,
		KeyID:            key.ID,
		ExpiresAt:        key.ExpiresAt,
	}
	for _, scope := range key.Scopes {
		who.Scopes = append(who.Scopes, Scope(scope))
	}
	return who, nil
}

func refused() error {
	return apperr.New(apperr.Unauthorized, "The API key, token or ticket is not valid.")
}

func isVisible(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// NewKey is a key to be made.
type NewKey struct {
	Name           string
	User           string // the user's name; made when new
	Scopes         []Scope
	ExpiresAt      *time.Time            // nil: never
	Key            string                // the whole key, where it is given; else it is made
	IdempotencyKey *store.IdempotencyKey // the request's Idempotency-Key; nil: none
}

// CreateKey makes a key and returns it with its user's name and the key itself,
// which cannot be had again: a repeated request is a Conflict.
func (a *Auth) CreateKey(ctx context.Context, organization uuid.UUID, wanted NewKey) (db.ListAPIKeysRow, string, error) {
	if wanted.ExpiresAt != nil && !wanted.ExpiresAt.After(time.Now()) {
		return db.ListAPIKeysRow{}, "", apperr.Field(apperr.InvalidRequest, "/expiresAt", "must be a time to come")
	}
	user := strings.TrimSpace(wanted.User)
	if user == "" { // spaces that the document's pattern does not know
		return db.ListAPIKeysRow{}, "", apperr.Field(apperr.InvalidRequest, "/user", "must not be blank")
	}
	key := wanted.Key
	if key == "" {
		key = makeKey()
	}
	prefix, secret, _ := strings.Cut(key, ".")
	hash := sha256.Sum256([]byte(secret))
	made, err := store.IdempotentSecret(ctx, a.store, wanted.IdempotencyKey, func(q *db.Queries) (db.ListAPIKeysRow, error) {
		speaker, err := q.UpsertUser(ctx, organization, store.NewID(), user)
		if err != nil {
			return db.ListAPIKeysRow{}, fmt.Errorf("find the user: %w", err)
		}
		made, err := q.CreateAPIKey(ctx, db.CreateAPIKeyParams{
			OrganizationID: organization,
			ID:             store.NewID(),
			UserID:         speaker.ID,
			Name:           wanted.Name,
			Prefix:         prefix,
			SecretHash:     hash[:],
			Scopes:         distinct(wanted.Scopes),
			ExpiresAt:      wanted.ExpiresAt,
		})
		if err != nil {
			return db.ListAPIKeysRow{}, err
		}
		details := audit.Details{"prefix": made.Prefix, "name": made.Name, "user": speaker.Name, "scopes": made.Scopes}
		return db.ListAPIKeysRow{ApiKey: made, UserName: speaker.Name}, audit.Record(ctx, q, organization, audit.KeyCreated, details, made.ID)
	})
	return made, key, err
}

func distinct(scopes []Scope) []string {
	names := make([]string, 0, len(scopes))
	for _, scope := range scopes {
		if !slices.Contains(names, string(scope)) {
			names = append(names, string(scope))
		}
	}
	return names
}

// makeKey makes `pk_<10 hex digits>.<32 letters>`: the prefix finds the key, the
// secret holds 192 random bits.
func makeKey() string {
	random := make([]byte, 5+24)
	rand.Read(random) // never fails (crypto/rand)
	return "pk_" + hex.EncodeToString(random[:5]) + "." + base64.RawURLEncoding.EncodeToString(random[5:])
}

// ListKeys returns a page of an organization's keys, newest first, and how many
// there are in all.
func (a *Auth) ListKeys(ctx context.Context, organization uuid.UUID, limit, offset int) ([]db.ListAPIKeysRow, int64, error) {
	count, err := a.store.CountAPIKeys(ctx, organization)
	if err != nil {
		return nil, 0, err
	}
	keys, err := a.store.ListAPIKeys(ctx, organization, int32(offset), int32(limit))
	return keys, count, err
}

const noSuchKey = "There is no such API key."

// RevokeKey revokes a key, from the next request on, and at other instances within a
// second. The organization's last key with the scope admin that never expires stays, so
// that nobody is locked out.
func (a *Auth) RevokeKey(ctx context.Context, organization uuid.UUID, id string) error {
	keyID, err := store.ParseID(id, noSuchKey)
	if err != nil {
		return err
	}
	err = a.store.InTx(ctx, func(q *db.Queries) error {
		admins, err := q.LockAdminKeys(ctx, organization)
		if err != nil {
			return err
		}
		if len(admins) == 1 && admins[0] == keyID {
			return apperr.New(apperr.Conflict, "This is the organization's last permanent key with the scope admin; make another one first.")
		}
		revoked, err := q.DeleteAPIKey(ctx, organization, keyID)
		if err != nil {
			return apperr.Rephrase(err, apperr.NotFound, noSuchKey)
		}
		details := audit.Details{"prefix": revoked.Prefix, "name": revoked.Name, "scopes": revoked.Scopes}
		return audit.Record(ctx, q, organization, audit.KeyRevoked, details, keyID)
	})
	a.known.forget(keyID) // whatever the error: it may be of the answer to a commit
	return err
}

type contextKey struct{}

// WithPrincipal returns a context that carries who is asking.
func WithPrincipal(ctx context.Context, who Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, who)
}

// PrincipalOf returns who is asking; the zero Principal, which belongs to no
// organization and has no scope, where nobody was authenticated.
func PrincipalOf(ctx context.Context) Principal {
	who, _ := ctx.Value(contextKey{}).(Principal)
	return who
}
