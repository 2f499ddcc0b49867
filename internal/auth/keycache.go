package auth

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
)

const (
	// knownTime is how long a key is known without being looked up again: for so long, at
	// the most, one that was revoked at another instance is still taken. A look-up costs
	// PostgreSQL half of what storing a message does, so one a second is as good as none.
	knownTime = time.Second
	// maxKnown bounds the keys that are known at once.
	maxKnown = 10_000
)

// knownKeys are the keys that were looked up within the last second, by what they were
// found by. What this process revokes is forgotten before the revocation is answered.
// The zero value is ready to use.
type knownKeys struct {
	mu     sync.Mutex
	byName map[string]knownKey
	// revocations counts them: what was looked up before one may be what was revoked.
	revocations uint64
}

type knownKey struct {
	db.GetAPIKeyByPrefixRow
	until time.Time
}

// find returns the key of that name as it is known, or as lookUp finds it.
func (k *knownKeys) find(name string, lookUp func() (db.GetAPIKeyByPrefixRow, error)) (db.GetAPIKeyByPrefixRow, error) {
	k.mu.Lock()
	known, ok := k.byName[name]
	revocations := k.revocations
	k.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.GetAPIKeyByPrefixRow, nil
	}
	until := time.Now().Add(knownTime)
	found, err := lookUp()
	if err != nil {
		return found, err
	}
	if found.ExpiresAt != nil && found.ExpiresAt.Before(until) {
		until = *found.ExpiresAt
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.revocations != revocations {
		return found, nil
	}
	if k.byName == nil || len(k.byName) >= maxKnown {
		k.byName = make(map[string]knownKey)
	}
	kept := found
	kept.NeedsTouch = false // who has looked it up notes its use
	k.byName[name] = knownKey{GetAPIKeyByPrefixRow: kept, until: until}
	return found, nil
}

// forget forgets a key that was revoked.
func (k *knownKeys) forget(id uuid.UUID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.revocations++
	for name, known := range k.byName {
		if known.ID == id {
			delete(k.byName, name)
		}
	}
}
