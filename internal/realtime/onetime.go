package realtime

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

// memoryLimit bounds the values that are kept in this process.
const (
	memoryLimit = 100_000
	// userLimit bounds those of one user.
	userLimit = 2_000
	// purgeInterval is how often expired values are removed.
	purgeInterval = 10 * time.Second
)

// Owner is the user for whom a value is kept.
type Owner struct{ Organization, User uuid.UUID }

// ErrFull is returned when a OneTimeStore has no room for another value of an owner.
var ErrFull = errors.New("too many one-time values")

// OneTimeStore keeps values that can be taken exactly once, by any instance. They live in
// Redis, or in this process's memory when Redis is not configured or unavailable.
//
// It is safe for concurrent use: of concurrent Takes of one key, one gets the value.
type OneTimeStore struct {
	redis *Redis

	mu        sync.Mutex
	values    map[string]oneTimeValue
	counts    map[uuid.UUID]int // values in memory, by organization and by user
	lastPurge time.Time
}

type oneTimeValue struct {
	value   string
	owner   Owner
	expires time.Time
}

// NewOneTimeStore returns an empty store. With a nil redis all values stay in memory.
func NewOneTimeStore(redis *Redis) *OneTimeStore {
	return &OneTimeStore{redis: redis, values: make(map[string]oneTimeValue), counts: make(map[uuid.UUID]int)}
}

// Put keeps a value until it is taken or ttl has passed. While Redis is unavailable only
// this instance can take the value. Put returns ErrFull when there is no room, or when the owner has too
// many values in memory: a user may have 2,000, and an organization as many as are free, so that it never
// refuses another one.
func (o *OneTimeStore) Put(ctx context.Context, owner Owner, key, value string, ttl time.Duration) error {
	if o.redis != nil {
		err := o.redis.Do(ctx, func(ctx context.Context, client *redis.Client) error {
			return client.Set(ctx, oneTimeKey(key), value, ttl).Err()
		})
		if !errors.Is(err, ErrUnavailable) {
			return err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	o.purge(now)
	free := memoryLimit - len(o.values)
	if ofOrganization := o.counts[owner.Organization]; free <= 0 || ofOrganization > 0 && ofOrganization >= free || o.counts[owner.User] >= userLimit {
		return ErrFull
	}
	o.counts[owner.Organization]++
	o.counts[owner.User]++
	o.values[key] = oneTimeValue{value: value, owner: owner, expires: now.Add(ttl)}
	return nil
}

// remove requires the lock.
func (o *OneTimeStore) remove(key string, found oneTimeValue) {
	delete(o.values, key)
	for _, id := range []uuid.UUID{found.owner.Organization, found.owner.User} {
		if o.counts[id]--; o.counts[id] <= 0 {
			delete(o.counts, id)
		}
	}
}

// Take returns a value and removes it; ok is false if the key has none. ErrUnavailable
// means that Redis may hold the value but cannot be reached.
func (o *OneTimeStore) Take(ctx context.Context, key string) (value string, ok bool, err error) {
	if value, ok = o.takeLocal(key); ok || o.redis == nil {
		return value, ok, nil
	}
	err = o.redis.Do(ctx, func(ctx context.Context, client *redis.Client) error {
		value, err = client.GetDel(ctx, oneTimeKey(key)).Result()
		return err
	})
	if errors.Is(err, redis.Nil) {
		return "", false, nil
	}
	return value, err == nil, err
}

func (o *OneTimeStore) takeLocal(key string) (string, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, ok := o.values[key]
	if ok {
		o.remove(key, found)
	}
	if !ok || !time.Now().Before(found.expires) {
		return "", false
	}
	return found.value, true
}

// purge removes expired values, at most once in purgeInterval. The caller holds mu.
func (o *OneTimeStore) purge(now time.Time) {
	if now.Sub(o.lastPurge) < purgeInterval {
		return
	}
	o.lastPurge = now
	for key, value := range o.values {
		if !now.Before(value.expires) {
			o.remove(key, value)
		}
	}
}

// oneTimeKey is the key in Redis. Instances of all versions share it.
func oneTimeKey(key string) string { return "parley:deposit:" + key }
