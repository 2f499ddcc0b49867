package realtime

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// errRefused wraps what the caller of Change itself has refused.
var errRefused = errors.New("refused")

// Value returns a value and renews its time, unless ttl is 0; nil where there is none.
func (l *Link) Value(ctx context.Context, key string, ttl time.Duration) ([]byte, error) {
	var value []byte
	err := l.Do(ctx, func(ctx context.Context, client *redis.Client) (err error) {
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

// Left returns how long a value still lives; 0 where there is none.
func (l *Link) Left(ctx context.Context, key string) (time.Duration, error) {
	var left time.Duration
	err := l.Do(ctx, func(ctx context.Context, client *redis.Client) (err error) {
		left, err = client.PTTL(ctx, key).Result()
		return err
	})
	return max(left, 0), err
}

// Change replaces a value by what change makes of it, nil where there is none, and
// renews its time. Of changes that come together one is made first and the others are
// made again of its result, so change must do nothing but compute; its own error
// leaves the value as it was.
func (l *Link) Change(ctx context.Context, key string, ttl time.Duration, change func(value []byte) ([]byte, error)) error {
	for {
		var refusal error
		err := l.Do(ctx, func(ctx context.Context, client *redis.Client) error {
			return client.Watch(ctx, func(tx *redis.Tx) error {
				value, err := tx.Get(ctx, key).Bytes()
				if err != nil && !errors.Is(err, redis.Nil) {
					return err
				}
				if value, refusal = change(value); refusal != nil {
					return errRefused
				}
				_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Set(ctx, key, value, ttl).Err() })
				return err
			}, key)
		})
		switch {
		case refusal != nil:
			return refusal
		case errors.Is(err, redis.TxFailedErr):
			continue
		}
		return err
	}
}
