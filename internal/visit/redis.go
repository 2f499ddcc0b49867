package visit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"parley/internal/feed"
	"parley/internal/realtime"
)

// redisStates keeps each visit in Redis as one JSON value, changed by compare-and-set, whose TTL
// activity restarts. It also keeps copies of the visits that this instance serves. While Redis is
// unavailable, a visit continues in the copy, on this instance only. If Redis has lost a visit, the
// copy is written back.
type redisStates struct {
	redis  *realtime.Redis
	feed   *feed.Feed
	ttl    time.Duration
	copies *memoryStates
}

func visitKey(id uuid.UUID) string { return "parley:visit:" + id.String() }

func (r *redisStates) create(ctx context.Context, created state) error {
	err := r.redis.Update(ctx, visitKey(created.ID), r.ttl, func([]byte) ([]byte, error) { return json.Marshal(created) })
	if err != nil && !errors.Is(err, realtime.ErrUnavailable) {
		return err
	}
	return r.copies.create(ctx, created)
}

func (r *redisStates) read(ctx context.Context, id uuid.UUID, isActive bool) (state, error) {
	ttl := r.ttl
	if !isActive {
		ttl = 0
	}
	value, err := r.redis.Get(ctx, visitKey(id), ttl)
	if errors.Is(err, realtime.ErrUnavailable) {
		return r.copies.read(ctx, id, isActive)
	}
	if err != nil {
		return state{}, err
	}
	seen, err := r.newest(id, value)
	if err == nil && isActive {
		r.copies.refresh(seen)
		if value == nil { // write it back
			err = r.change(ctx, id, func(*state) error { return nil })
		}
	}
	return seen, err
}

// newest returns the state in Redis. It returns the copy instead if the visit continued there during an outage of
// Redis, or Redis has lost the visit.
func (r *redisStates) newest(id uuid.UUID, value []byte) (state, error) {
	kept, isAhead, err := r.copies.copyOf(id)
	if value == nil {
		return kept, err
	}
	var seen state
	if err := json.Unmarshal(value, &seen); err != nil {
		return state{}, fmt.Errorf("decode visit: %w", err)
	}
	if err == nil && isAhead && kept.LastSeq >= seen.LastSeq {
		return kept, nil
	}
	return seen, nil
}

func (r *redisStates) change(ctx context.Context, id uuid.UUID, change func(*state) error) error {
	var changed state
	err := r.redis.Update(ctx, visitKey(id), r.ttl, func(value []byte) (_ []byte, err error) {
		if changed, err = r.newest(id, value); err != nil {
			return nil, err
		}
		if err := change(&changed); err != nil {
			return nil, err
		}
		return json.Marshal(changed)
	})
	if errors.Is(err, realtime.ErrUnavailable) {
		return r.copies.change(ctx, id, change)
	}
	if err == nil {
		r.copies.put(changed)
	}
	return err
}

// end leaves the visit in Redis to expire if Redis is unavailable.
func (r *redisStates) end(ctx context.Context, id uuid.UUID) {
	_ = r.redis.Delete(ctx, visitKey(id))
	r.copies.end(ctx, id)
}

func (r *redisStates) usages() map[uuid.UUID]usage { return r.copies.usages() }

func (r *redisStates) bytes() int { return r.copies.bytes() }

// expiry asks Redis when the copy is about to expire, because the visit may be active on another
// instance.
func (r *redisStates) expiry(ctx context.Context, id uuid.UUID) (end time.Time, isOver bool) {
	if end, hasCopy := r.copies.endOf(id); hasCopy && time.Until(end) > warningTime(r.ttl) {
		return end, false
	}
	if left, err := r.redis.TTL(ctx, visitKey(id)); err == nil && left > 0 {
		r.copies.setActive(id, time.Now().Add(left-r.ttl))
	}
	return r.copies.expiry(ctx, id)
}

// restore writes back the copies that a restarted Redis has lost.
func (r *redisStates) restore(ctx context.Context) {
	for _, kept := range r.copies.all() {
		left := max(r.ttl-time.Since(kept.lastActive), time.Second)
		err := r.redis.Update(ctx, visitKey(kept.ID), left, func(value []byte) ([]byte, error) {
			if value != nil && !kept.isAhead {
				return value, nil
			}
			seen, err := r.newest(kept.ID, value)
			if err != nil {
				return nil, err
			}
			return json.Marshal(seen)
		})
		if errors.Is(err, realtime.ErrUnavailable) {
			return // restore runs again when Redis is available
		}
		if kept.isAhead {
			r.feed.Notify(feed.Notification{Kind: feed.KindMessage, Topic: kept.ID, Number: kept.LastSeq})
		}
	}
}
