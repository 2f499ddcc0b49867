package realtime

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// memoryLimit bounds the values that are kept in this process.
const memoryLimit = 100_000

// ErrFull is returned when a OneTimeStore has no room for another value.
var ErrFull = errors.New("too many one-time values")

// OneTimeStore keeps values that can be taken exactly once, by any instance. They live in
// Redis, or in this process's memory when Redis is not configured or unavailable.
//
// It is safe for concurrent use: of concurrent Takes of one key, one gets the value.
type OneTimeStore struct {
	redis *Redis

	mu        sync.Mutex
	values    map[string]oneTimeValue
	lastPurge time.Time
}

type oneTimeValue struct {
	value   string
	expires time.Time
}

// NewOneTimeStore returns an empty store. With a nil redis all values stay in memory.
func NewOneTimeStore(redis *Redis) *OneTimeStore {
	return &OneTimeStore{redis: redis, values: make(map[string]oneTimeValue)}
}

// Put keeps a value until it is taken or ttl has passed. While Redis is unavailable only
// this instance can take the value. Put returns ErrFull when there is no room.
func (o *OneTimeStore) Put(ctx context.Context, key, value string, ttl time.Duration) error {
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
	if len(o.values) >= memoryLimit {
		return ErrFull
	}
	o.values[key] = oneTimeValue{value: value, expires: now.Add(ttl)}
	return nil
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
	delete(o.values, key)
	if !ok || !time.Now().Before(found.expires) {
		return "", false
	}
	return found.value, true
}

// purge removes expired values, at most once a minute. The caller holds mu.
func (o *OneTimeStore) purge(now time.Time) {
	if now.Sub(o.lastPurge) < time.Minute {
		return
	}
	o.lastPurge = now
	for key, value := range o.values {
		if !now.Before(value.expires) {
			delete(o.values, key)
		}
	}
}

// oneTimeKey is the key in Redis. Instances of all versions share it.
func oneTimeKey(key string) string { return "parley:deposit:" + key }
