package auth

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
)

const (
	// keyTTL is how long a key is cached, and so the longest time for which an instance accepts a key that another
	// instance has revoked. A lookup costs PostgreSQL half as much as storing a message; one lookup per second is
	// negligible.
	keyTTL = time.Second
	// maxCachedKeys bounds the cache.
	maxCachedKeys = 10_000
)

// keyCache caches API keys by their lookup name. A key that this process revokes or changes is removed before
// that returns. The zero value is ready to use. It is safe for concurrent use.
type keyCache struct {
	mu     sync.Mutex
	byName map[string]cachedKey
	// unknown are names that had no key, and until when that is believed.
	unknown map[string]time.Time
	// revocations counts revocations and changes. A lookup that started before one of them is not cached, because it
	// may have read the old key.
	revocations uint64
}

var errUnknownKey = apperr.New(apperr.NotFound, "There is no such key.")

type cachedKey struct {
	db.GetAPIKeyByPrefixRow
	validUntil time.Time
}

// get returns the cached key, or the one that lookUp finds.
func (c *keyCache) get(name string, lookUp func() (db.GetAPIKeyByPrefixRow, error)) (db.GetAPIKeyByPrefixRow, error) {
	c.mu.Lock()
	cached, ok := c.byName[name]
	revocations := c.revocations
	isUnknown := time.Now().Before(c.unknown[name])
	c.mu.Unlock()
	if isUnknown {
		return db.GetAPIKeyByPrefixRow{}, errUnknownKey
	}
	if ok && time.Now().Before(cached.validUntil) {
		return cached.GetAPIKeyByPrefixRow, nil
	}
	validUntil := time.Now().Add(keyTTL)
	found, err := lookUp()
	if apperr.Is(err, apperr.NotFound) {
		c.rememberUnknown(name, validUntil, revocations)
	}
	if err != nil {
		return found, err
	}
	if found.ExpiresAt != nil && found.ExpiresAt.Before(validUntil) {
		validUntil = *found.ExpiresAt
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.revocations != revocations {
		return found, nil
	}
	if c.byName == nil || len(c.byName) >= maxCachedKeys {
		c.byName = make(map[string]cachedKey)
	}
	stored := found
	stored.NeedsTouch = false // the caller of this lookup touches the key
	c.byName[name] = cachedKey{GetAPIKeyByPrefixRow: stored, validUntil: validUntil}
	return found, nil
}

// rememberUnknown caches that a name has no key, unless a key was created since the lookup started.
func (c *keyCache) rememberUnknown(name string, until time.Time, revocations uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.revocations != revocations {
		return
	}
	if c.unknown == nil || len(c.unknown) >= maxCachedKeys {
		c.unknown = make(map[string]time.Time)
	}
	c.unknown[name] = until
}

// forgetUnknown is called when a key was created: its name is unknown no longer.
func (c *keyCache) forgetUnknown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revocations++
	clear(c.unknown)
}

// forget removes a key that was revoked or changed.
func (c *keyCache) forget(id uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revocations++
	for name, key := range c.byName {
		if key.ID == id {
			delete(c.byName, name)
		}
	}
}
