package realtime

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// errRejected represents an error of Update's callback, which says nothing about Redis.
var errRejected = errors.New("rejected")

// Get returns a value, or nil if the key has none. It sets the key's time to live unless
// ttl is 0.
func (r *Redis) Get(ctx context.Context, key string, ttl time.Duration) ([]byte, error) {
	var value []byte
	err := r.Do(ctx, func(ctx context.Context, client *redis.Client) (err error) {
		if ttl == 0 {
			value, err = client.Get(ctx, key).Bytes()
		} else {
			value, err = client.GetEx(ctx, key, ttl).Bytes()
		}
		return err
	})
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return value, err
}

// Delete deletes a value, if the key has one.
func (r *Redis) Delete(ctx context.Context, key string) error {
	return r.Do(ctx, func(ctx context.Context, client *redis.Client) error { return client.Unlink(ctx, key).Err() })
}

// TTL returns a key's remaining time to live, or 0 if it has no value.
func (r *Redis) TTL(ctx context.Context, key string) (time.Duration, error) {
	var ttl time.Duration
	err := r.Do(ctx, func(ctx context.Context, client *redis.Client) (err error) {
		ttl, err = client.PTTL(ctx, key).Result()
		return err
	})
	return max(ttl, 0), err
}

// Update replaces a value with the result of update, which gets nil if the key has no
// value, and sets its time to live. It is an optimistic compare-and-set: if another
// instance writes the value meanwhile, update is called again with the new value, so it
// must have no side effects. An error of update leaves the value unchanged.
func (r *Redis) Update(ctx context.Context, key string, ttl time.Duration, update func(value []byte) ([]byte, error)) error {
	for {
		var updateErr error
		err := r.Do(ctx, func(ctx context.Context, client *redis.Client) error {
			return client.Watch(ctx, func(tx *redis.Tx) error {
				value, err := tx.Get(ctx, key).Bytes()
				if err != nil && !errors.Is(err, redis.Nil) {
					return err
				}
				if value, updateErr = update(value); updateErr != nil {
					return errRejected
				}
				_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Set(ctx, key, value, ttl).Err() })
				return err
			}, key)
		})
		switch {
		case updateErr != nil:
			return updateErr
		case errors.Is(err, redis.TxFailedErr):
			continue
		}
		return err
	}
}
