package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
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
	"parley/internal/store"
)

const noKey = "There is no such API key."

// NewKey describes an API key to create.
type NewKey struct {
	Name           string
	User           string // name of the user, who is created if new
	Scopes         []Scope
	ExpiresAt      *time.Time // nil: never
	Key            string     // the whole key; empty: generated
	RateLimits     KeyLimits
	IdempotencyKey *store.IdempotencyKey // nil: none
}

// CreateKey creates an API key and returns it with its user's name and the key itself. The key
// cannot be retrieved again: a repeated request returns a Conflict error.
func (a *Auth) CreateKey(ctx context.Context, organization uuid.UUID, newKey NewKey) (db.ListAPIKeysRow, string, error) {
	if newKey.ExpiresAt != nil && !newKey.ExpiresAt.After(time.Now()) {
		return db.ListAPIKeysRow{}, "", errPastExpiry()
	}
	userName := strings.TrimSpace(newKey.User)
	if userName == "" { // the schema's pattern does not cover all kinds of space
		return db.ListAPIKeysRow{}, "", apperr.Field(apperr.InvalidRequest, "/user", "must not be blank")
	}
	key := newKey.Key
	if key == "" {
		key = generateKey()
	}
	prefix, secret := splitKey(key)
	hash := sha256.Sum256([]byte(secret))
	created, err := store.IdempotentSecret(ctx, a.store, newKey.IdempotencyKey, func(q *db.Queries) (db.ListAPIKeysRow, error) {
		user, err := q.UpsertUser(ctx, organization, store.NewID(), userName)
		if err != nil {
			return db.ListAPIKeysRow{}, fmt.Errorf("find the user: %w", err)
		}
		created, err := q.CreateAPIKey(ctx, db.CreateAPIKeyParams{
			OrganizationID: organization,
			ID:             store.NewID(),
			UserID:         user.ID,
			Name:           newKey.Name,
			Prefix:         prefix,
			SecretHash:     hash[:],
			Scopes:         distinctNames(newKey.Scopes),
			ExpiresAt:      newKey.ExpiresAt,
			MessagesLimit:  limitColumn(newKey.RateLimits.Messages),
			HistoryLimit:   limitColumn(newKey.RateLimits.History),
			ListLimit:      limitColumn(newKey.RateLimits.List),
		})
		if err != nil {
			return db.ListAPIKeysRow{}, err
		}
		details := audit.Details{"prefix": created.Prefix, "name": created.Name, "user": user.Name, "scopes": created.Scopes}
		return db.ListAPIKeysRow{ApiKey: created, UserName: user.Name}, audit.Record(ctx, q, organization, audit.KeyCreated, details, created.ID)
	})
	a.keys.forgetUnknown()
	return created, key, err
}

func limitColumn(limit int) *int32 {
	if limit == 0 {
		return nil
	}
	return new(int32(limit))
}

func distinctNames(scopes []Scope) []string {
	names := make([]string, 0, len(scopes))
	for _, scope := range scopes {
		if !slices.Contains(names, string(scope)) {
			names = append(names, string(scope))
		}
	}
	return names
}

// generateKey returns a random `pk_<10 hex digits>.<32 characters>`. The prefix identifies the key;
// the secret has 192 random bits.
func generateKey() string {
	random := make([]byte, 5+24)
	rand.Read(random) // never fails (crypto/rand)
	return "pk_" + hex.EncodeToString(random[:5]) + "." + base64.RawURLEncoding.EncodeToString(random[5:])
}

// importedPrefix begins the prefixes of imported keys without a prefix of their own.
const importedPrefix = "imported_"

// splitKey returns the prefix that identifies a key, and its secret. A key without a dot is all
// secret; its hash identifies it.
func splitKey(key string) (prefix, secret string) {
	prefix, secret, hasPrefix := strings.Cut(key, ".")
	if hasPrefix {
		return prefix, secret
	}
	hash := sha256.Sum256([]byte(importedPrefix + key))
	return importedPrefix + hex.EncodeToString(hash[:10]), key
}

// CheckImport returns an error unless an imported key is as hard to guess as a generated one: its secret must have at
// least 24 characters, 10 of them different, because the stored hash is fast to compute.
func CheckImport(key string) error {
	prefix, secret := splitKey(key)
	different := make(map[rune]bool)
	for _, r := range secret {
		different[r] = true
	}
	switch {
	case !isVisibleASCII(key) || !isVisibleASCII(prefix) || len(key) > 200 || isToken(key) || strings.HasPrefix(key, importedPrefix):
		return apperr.Field(apperr.InvalidRequest, "/key", "must be an API key of at most 200 visible ASCII characters")
	case len(secret) < 24 || len(different) < 10:
		return apperr.Field(apperr.InvalidRequest, "/key", "must have a secret of at least 24 characters, 10 of them different; what precedes the first dot is not secret")
	}
	return nil
}

// ListKeys returns a page of an organization's API keys, newest first, and the total number.
func (a *Auth) ListKeys(ctx context.Context, organization uuid.UUID, limit, offset int) ([]db.ListAPIKeysRow, int64, error) {
	total, err := a.store.CountAPIKeys(ctx, organization)
	if err != nil {
		return nil, 0, err
	}
	keys, err := a.store.ListAPIKeys(ctx, organization, int32(offset), int32(limit))
	return keys, total, err
}

// KeyChange is what UpdateKey changes. A nil field is left unchanged.
type KeyChange struct {
	Name          *string
	ExpiresAt     *time.Time
	NeverExpires  bool // if ExpiresAt is nil
	Messages      *int // limits; 0 removes one
	History, List *int
}

// UpdateKey changes an API key and returns it. The change takes effect immediately in this process, and within a
// second at other instances. The organization's last key with the scope admin that never expires cannot be given an
// expiry.
func (a *Auth) UpdateKey(ctx context.Context, organization uuid.UUID, id string, change KeyChange) (db.ListAPIKeysRow, error) {
	keyID, err := store.ParseID(id, noKey)
	if err != nil {
		return db.ListAPIKeysRow{}, err
	}
	if change.ExpiresAt != nil && !change.ExpiresAt.After(time.Now()) {
		return db.ListAPIKeysRow{}, errPastExpiry()
	}
	var row db.ListAPIKeysRow
	err = a.store.InTx(ctx, func(q *db.Queries) error {
		if change.ExpiresAt != nil {
			if err := checkLastAdmin(ctx, q, organization, keyID); err != nil {
				return err
			}
		}
		found, err := q.GetAPIKeyForUpdate(ctx, organization, keyID)
		if err != nil {
			return apperr.Rephrase(err, apperr.NotFound, noKey)
		}
		row = db.ListAPIKeysRow(found)
		key := &row.ApiKey
		change.apply(key)
		err = q.UpdateAPIKey(ctx, db.UpdateAPIKeyParams{
			OrganizationID: organization,
			ID:             keyID,
			Name:           key.Name,
			ExpiresAt:      key.ExpiresAt,
			MessagesLimit:  key.MessagesLimit,
			HistoryLimit:   key.HistoryLimit,
			ListLimit:      key.ListLimit,
		})
		if err != nil {
			return err
		}
		details := audit.Details{
			"prefix": key.Prefix, "name": key.Name, "scopes": key.Scopes,
			"rateLimits": map[string]*int32{"messages": key.MessagesLimit, "history": key.HistoryLimit, "list": key.ListLimit},
		}
		if key.ExpiresAt != nil {
			details["expiresAt"] = key.ExpiresAt.UTC().Format("2006-01-02T15:04:05.000000Z")
		}
		return audit.Record(ctx, q, organization, audit.KeyUpdated, details, keyID)
	})
	a.keys.forget(keyID) // also after an error, which may have followed the commit
	return row, err
}

func (c KeyChange) apply(key *db.ApiKey) {
	if c.Name != nil {
		key.Name = *c.Name
	}
	if c.ExpiresAt != nil || c.NeverExpires {
		key.ExpiresAt = c.ExpiresAt
	}
	for _, limit := range []struct {
		wanted *int
		column **int32
	}{{c.Messages, &key.MessagesLimit}, {c.History, &key.HistoryLimit}, {c.List, &key.ListLimit}} {
		if limit.wanted != nil {
			*limit.column = limitColumn(*limit.wanted)
		}
	}
}

func errPastExpiry() error {
	return apperr.Field(apperr.InvalidRequest, "/expiresAt", "must be in the future")
}

// checkLastAdmin returns a Conflict if the key is the organization's last one with the scope admin
// that never expires. It locks all of those.
func checkLastAdmin(ctx context.Context, q *db.Queries, organization, keyID uuid.UUID) error {
	admins, err := q.LockAdminKeys(ctx, organization)
	if err == nil && len(admins) == 1 && admins[0] == keyID {
		return apperr.New(apperr.Conflict, "This is the organization's last permanent key with the scope admin. Create another one first.")
	}
	return err
}

// RevokeKey revokes an API key: immediately in this process, and within a second at other instances. The
// organization's last key with the scope admin that never expires cannot be revoked, because nobody could create keys
// afterwards.
func (a *Auth) RevokeKey(ctx context.Context, organization uuid.UUID, id string) error {
	keyID, err := store.ParseID(id, noKey)
	if err != nil {
		return err
	}
	err = a.store.InTx(ctx, func(q *db.Queries) error {
		if err := checkLastAdmin(ctx, q, organization, keyID); err != nil {
			return err
		}
		revoked, err := q.DeleteAPIKey(ctx, organization, keyID)
		if err != nil {
			return apperr.Rephrase(err, apperr.NotFound, noKey)
		}
		details := audit.Details{"prefix": revoked.Prefix, "name": revoked.Name, "scopes": revoked.Scopes}
		return audit.Record(ctx, q, organization, audit.KeyRevoked, details, keyID)
	})
	a.keys.forget(keyID) // also after an error, which may have followed the commit
	return err
}
