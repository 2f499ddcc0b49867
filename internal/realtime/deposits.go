package realtime

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// depositLimit bounds the values that are kept in memory.
const depositLimit = 100_000

// ErrFull is that too many values wait to be taken.
var ErrFull = errors.New("too many values wait to be taken")

// Deposits keeps values that can be taken once, at any instance: in Redis, or in the
// memory of this process where there is no Redis or it is away. It is safe for
// concurrent use: of many who take one value, one gets it.
type Deposits struct {
	link *Link

	mu    sync.Mutex
	byKey map[string]deposit
	swept time.Time
}

type deposit struct {
	value string
	until time.Time
}

// NewDeposits makes a Deposits; link is nil where there is no Redis.
func NewDeposits(link *Link) *Deposits {
	return &Deposits{link: link, byKey: make(map[string]deposit)}
}

// Put keeps a value until it is taken or its time is over; ErrFull is that there is no
// room for it. While Redis is away it can
// only be taken here.
func (d *Deposits) Put(ctx context.Context, key, value string, ttl time.Duration) error {
	if d.link != nil {
		err := d.link.Do(ctx, func(ctx context.Context, client *redis.Client) error {
			return client.Set(ctx, depositKey(key), value, ttl).Err()
		})
		if !errors.Is(err, ErrAway) {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep(time.Now())
	if len(d.byKey) >= depositLimit {
		return ErrFull
	}
	d.byKey[key] = deposit{value: value, until: time.Now().Add(ttl)}
	return nil
}

// Take returns a value and forgets it; not ok where there is none. ErrAway is that it
// may be in Redis, which cannot be asked.
func (d *Deposits) Take(ctx context.Context, key string) (value string, ok bool, err error) {
	if value, ok = d.takeHere(key); ok || d.link == nil {
		return value, ok, nil
	}
	err = d.link.Do(ctx, func(ctx context.Context, client *redis.Client) error {
		value, err = client.GetDel(ctx, depositKey(key)).Result()
		return err
	})
	if errors.Is(err, redis.Nil) {
		return "", false, nil
	}
	return value, err == nil, err
}

func (d *Deposits) takeHere(key string) (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, ok := d.byKey[key]
	delete(d.byKey, key)
	if !ok || !time.Now().Before(found.until) {
		return "", false
	}
	return found.value, true
}

// sweep forgets, each minute, the values whose time is over.
func (d *Deposits) sweep(now time.Time) {
	if now.Sub(d.swept) < time.Minute {
		return
	}
	d.swept = now
	for key, one := range d.byKey {
		if !now.Before(one.until) {
			delete(d.byKey, key)
		}
	}
}

func depositKey(key string) string { return "parley:deposit:" + key }
