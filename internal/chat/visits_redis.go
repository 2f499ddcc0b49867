package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"parley/internal/realtime"
)

// redisVisits keeps visits in Redis, each as one JSON value whose time is renewed by
// activity, and a copy of those that this instance serves. While Redis is away a visit
// goes on in the copy, for this instance alone; where Redis has lost it, the copy is
// put back.
type redisVisits struct {
	link   *realtime.Redis
	ttl    time.Duration
	copies *memoryVisits
}

func visitKey(id uuid.UUID) string { return "parley:visit:" + id.String() }

func (r *redisVisits) begin(ctx context.Context, begun visit) error {
	err := r.link.Update(ctx, visitKey(begun.ID), r.ttl, func([]byte) ([]byte, error) { return json.Marshal(begun) })
	if err != nil && !errors.Is(err, realtime.ErrUnavailable) {
		return err
	}
	return r.copies.begin(ctx, begun)
}

func (r *redisVisits) read(ctx context.Context, id uuid.UUID, isActive bool) (visit, error) {
	ttl := r.ttl
	if !isActive {
		ttl = 0
	}
	value, err := r.link.Get(ctx, visitKey(id), ttl)
	if errors.Is(err, realtime.ErrUnavailable) {
		return r.copies.read(ctx, id, isActive)
	}
	if err != nil {
		return visit{}, err
	}
	seen, err := r.newest(id, value)
	if err == nil && isActive {
		r.copies.renew(seen)
		if value == nil { // it is put back
			err = r.change(ctx, id, func(*visit) error { return nil })
		}
	}
	return seen, err
}

// newest is the state in Redis, unless the copy has gone on while Redis was away, or
// Redis has lost it.
func (r *redisVisits) newest(id uuid.UUID, value []byte) (visit, error) {
	kept, isAhead, err := r.copies.kept(id)
	if value == nil {
		return kept, err
	}
	var seen visit
	if err := json.Unmarshal(value, &seen); err != nil {
		return visit{}, fmt.Errorf("read a visit: %w", err)
	}
	if err == nil && isAhead && kept.LastSeq >= seen.LastSeq {
		return kept, nil
	}
	return seen, nil
}

func (r *redisVisits) change(ctx context.Context, id uuid.UUID, change func(*visit) error) error {
	var changed visit
	err := r.link.Update(ctx, visitKey(id), r.ttl, func(value []byte) (_ []byte, err error) {
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
		r.copies.keep(changed)
	}
	return err
}

// forget leaves the visit to Redis, until its time is over there.
func (r *redisVisits) forget(id uuid.UUID) { r.copies.forget(id) }

// end asks Redis about a visit whose copy is nearly over: it may be active at another
// instance.
func (r *redisVisits) end(ctx context.Context, id uuid.UUID) (end time.Time, isOver bool) {
	if end, isActive := r.copies.lastEnd(id); isActive && time.Until(end) > warningOf(r.ttl) {
		return end, false
	}
	if left, err := r.link.TTL(ctx, visitKey(id)); err == nil && left > 0 {
		r.copies.renewed(id, time.Now().Add(left-r.ttl))
	}
	return r.copies.end(ctx, id)
}

// restore puts the copies back that a Redis which was started anew has lost.
func (r *redisVisits) restore(ctx context.Context) {
	for _, kept := range r.copies.all() {
		err := r.link.Update(ctx, visitKey(kept.ID), max(r.ttl-time.Since(kept.lastActive), time.Second), func(value []byte) ([]byte, error) {
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
			return // it will be back once more
		}
		if kept.isAhead {
			r.link.Publish(realtime.Notification{Kind: hintMessage, Topic: kept.ID, Number: kept.LastSeq})
		}
	}
}

// kept returns a copy, and whether it has gone on while Redis was away.
func (m *memoryVisits) kept(id uuid.UUID) (seen visit, isAhead bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.find(id)
	if err != nil {
		return visit{}, false, err
	}
	return found.visit, found.isAhead, nil
}

// renew keeps what was read of a visit in which there is activity.
func (m *memoryVisits) renew(seen visit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.byID[seen.ID]
	if found == nil {
		found = new(keptVisit)
		m.byID[seen.ID] = found
	}
	found.visit, found.lastActive = seen, time.Now()
}

// lastEnd tells when a copy's time is over; false where there is none.
func (m *memoryVisits) lastEnd(id uuid.UUID) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.byID[id]
	if found == nil {
		return time.Time{}, false
	}
	return found.lastActive.Add(m.ttl), true
}

// renewed notes when a visit was active elsewhere.
func (m *memoryVisits) renewed(id uuid.UUID, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found := m.byID[id]; found != nil {
		found.lastActive = at
	}
}

// all lists the copies that are not over.
func (m *memoryVisits) all() []keptVisit {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []keptVisit
	for _, one := range m.byID {
		if time.Since(one.lastActive) < m.ttl {
			found = append(found, *one)
		}
	}
	return found
}
