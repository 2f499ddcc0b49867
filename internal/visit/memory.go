package visit

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/feed"
	"parley/internal/realtime"
)

// stateStore keeps the states of visits: in this instance's memory, or in Redis for all instances.
// A visit that has ended is NotFound.
type stateStore interface {
	create(ctx context.Context, created state) error
	// read returns a visit. isActive counts as activity, which restarts its TTL.
	read(ctx context.Context, id uuid.UUID, isActive bool) (state, error)
	// change replaces a visit by the result of change and counts as activity. If change returns an
	// error, the visit stays as it was. change may be called again with a newer state.
	change(ctx context.Context, id uuid.UUID, change func(*state) error) error
	// end ends a visit.
	end(ctx context.Context, id uuid.UUID)
	// expiry returns when a visit ends without further activity. The state of an ended visit is dropped.
	expiry(ctx context.Context, id uuid.UUID) (end time.Time, isOver bool)
	// usages returns the memory and the last activity of each visit on this instance, and bytes the memory of all of
	// them.
	usages() map[uuid.UUID]usage
	bytes() int
}

// newStateStore returns a store in Redis, or in memory without one.
func newStateStore(redis *realtime.Redis, notifier *feed.Feed, ttl time.Duration) stateStore {
	if redis == nil {
		return newMemoryStates(ttl)
	}
	return &redisStates{redis: redis, feed: notifier, ttl: ttl, copies: newMemoryStates(ttl)}
}

// memoryStates keeps visits in memory.
type memoryStates struct {
	ttl time.Duration

	mu    sync.Mutex
	byID  map[uuid.UUID]*memoryState
	total int // bytes of all states
}

type memoryState struct {
	state
	lastActive time.Time
	isAhead    bool // of the state in Redis
}

func newMemoryStates(ttl time.Duration) *memoryStates {
	return &memoryStates{ttl: ttl, byID: make(map[uuid.UUID]*memoryState)}
}

func (m *memoryStates) create(_ context.Context, created state) error {
	m.put(created)
	return nil
}

// put replaces a visit by its newest state.
func (m *memoryStates) put(seen state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(&memoryState{state: seen, lastActive: time.Now()})
}

func (m *memoryStates) read(_ context.Context, id uuid.UUID, isActive bool) (state, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.find(id)
	if err != nil {
		return state{}, err
	}
	if isActive {
		found.lastActive = time.Now()
	}
	return found.state, nil
}

// find returns a visit that has not ended. It requires the lock.
func (m *memoryStates) find(id uuid.UUID) (*memoryState, error) {
	found := m.byID[id]
	if found == nil || time.Since(found.lastActive) >= m.ttl {
		return nil, apperr.New(apperr.NotFound, noVisit)
	}
	return found, nil
}

func (m *memoryStates) change(_ context.Context, id uuid.UUID, change func(*state) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.find(id)
	if err != nil {
		return err
	}
	changed := found.state
	if err := change(&changed); err != nil {
		return err
	}
	m.set(&memoryState{state: changed, lastActive: time.Now(), isAhead: true})
	return nil
}

func (m *memoryStates) end(_ context.Context, id uuid.UUID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(id)
}

// set stores a state. It requires the lock.
func (m *memoryStates) set(stored *memoryState) {
	m.drop(stored.ID)
	m.byID[stored.ID] = stored
	m.total += stored.bytes()
}

// drop forgets a state. It requires the lock.
func (m *memoryStates) drop(id uuid.UUID) {
	if found := m.byID[id]; found != nil {
		m.total -= found.bytes()
		delete(m.byID, id)
	}
}

func (m *memoryStates) bytes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.total
}

func (m *memoryStates) usages() map[uuid.UUID]usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	usages := make(map[uuid.UUID]usage, len(m.byID))
	for id, kept := range m.byID {
		usages[id] = usage{bytes: kept.bytes(), isUsed: len(kept.Turns) > 0, lastActive: kept.lastActive}
	}
	return usages
}

func (m *memoryStates) expiry(_ context.Context, id uuid.UUID) (end time.Time, isOver bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.find(id)
	if err != nil {
		m.drop(id)
		return time.Time{}, true
	}
	return found.lastActive.Add(m.ttl), false
}

// copyOf returns a copy, and whether it is ahead of Redis.
func (m *memoryStates) copyOf(id uuid.UUID) (seen state, isAhead bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := m.find(id)
	if err != nil {
		return state{}, false, err
	}
	return found.state, found.isAhead, nil
}

// refresh keeps the state of a visit that was read because of activity.
func (m *memoryStates) refresh(seen state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	isAhead := false
	if found := m.byID[seen.ID]; found != nil {
		isAhead = found.isAhead
	}
	m.set(&memoryState{state: seen, lastActive: time.Now(), isAhead: isAhead})
}

// endOf returns when a copy expires, or false if there is no copy.
func (m *memoryStates) endOf(id uuid.UUID) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.byID[id]
	if found == nil {
		return time.Time{}, false
	}
	return found.lastActive.Add(m.ttl), true
}

// setActive records when a visit was active on another instance.
func (m *memoryStates) setActive(id uuid.UUID, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found := m.byID[id]; found != nil {
		found.lastActive = at
	}
}

// all returns the copies that have not expired.
func (m *memoryStates) all() []memoryState {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []memoryState
	for _, kept := range m.byID {
		if time.Since(kept.lastActive) < m.ttl {
			found = append(found, *kept)
		}
	}
	return found
}
