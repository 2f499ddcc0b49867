// Package fair shares something bounded, such as bytes of memory or turns at the database, between
// organizations, so that none can take it from another.
package fair

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// ErrFull is returned when an organization has too much waiting already, or has waited too long.
var ErrFull = errors.New("too much is waiting")

// Limits bound a Semaphore.
type Limits struct {
	// Size is how much can be held at a time.
	Size int64
	// Share is how much of it one organization can hold. It is less than Size where another
	// organization should never wait for the first one. The default is Size.
	Share int64
	// Waiting is how many callers of one organization can wait. The default is any number.
	Waiting int
	// Wait is how long a caller waits at most. The default is until its context ends.
	Wait time.Duration
}

// Semaphore is a weighted semaphore with a queue for each organization. What becomes free goes to the
// organizations in turns: one with a thousand callers waits no less than one with a single caller. It is
// safe for concurrent use.
type Semaphore struct {
	limits Limits

	mu   sync.Mutex
	held int64
	// holders has an entry for each organization that holds something or waits.
	holders map[uuid.UUID]*holder
	// turns are the organizations with a queue, the next one first.
	turns []*holder
}

type holder struct {
	held  int64
	queue []*waiter
}

type waiter struct {
	weight  int64
	granted chan struct{} // closed when the waiter holds its weight
}

// New returns an unused Semaphore.
func New(limits Limits) *Semaphore {
	if limits.Share == 0 {
		limits.Share = limits.Size
	}
	return &Semaphore{limits: limits, holders: make(map[uuid.UUID]*holder)}
}

// Acquire waits until the organization holds weight more, and returns a function that releases it. A
// weight above the share counts as the share. It fails with ErrFull, or when ctx ends.
func (s *Semaphore) Acquire(ctx context.Context, organization uuid.UUID, weight int64) (release func(), err error) {
	weight = min(weight, s.limits.Share)
	w, err := s.enqueue(organization, weight)
	if err != nil {
		return nil, err
	}
	if w != nil {
		if err := s.await(ctx, organization, w); err != nil {
			return nil, err
		}
	}
	return sync.OnceFunc(func() { s.release(organization, weight) }), nil
}

// enqueue returns nil if the weight is granted immediately.
func (s *Semaphore) enqueue(organization uuid.UUID, weight int64) (*waiter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.holders[organization]
	if h == nil {
		h = &holder{}
		s.holders[organization] = h
	}
	if len(h.queue) == 0 && s.isFree(h, weight) && !s.isAwaited() {
		s.grant(h, weight)
		return nil, nil
	}
	if s.limits.Waiting > 0 && len(h.queue) >= s.limits.Waiting {
		return nil, ErrFull
	}
	w := &waiter{weight: weight, granted: make(chan struct{})}
	h.queue = append(h.queue, w)
	if len(h.queue) == 1 {
		s.turns = append(s.turns, h)
	}
	return w, nil
}

// isAwaited reports whether an organization waits for more than its own share. It requires the lock.
func (s *Semaphore) isAwaited() bool {
	for _, h := range s.turns {
		if h.held+h.queue[0].weight <= s.limits.Share {
			return true
		}
	}
	return false
}

// isFree requires the lock.
func (s *Semaphore) isFree(h *holder, weight int64) bool {
	return s.held+weight <= s.limits.Size && h.held+weight <= s.limits.Share
}

// grant requires the lock.
func (s *Semaphore) grant(h *holder, weight int64) {
	s.held += weight
	h.held += weight
}

// await waits until w is granted. If it gives up, it leaves the queue.
func (s *Semaphore) await(ctx context.Context, organization uuid.UUID, w *waiter) error {
	if s.limits.Wait > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, s.limits.Wait, ErrFull)
		defer cancel()
		ctx = limited
	}
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
	}
	if !s.leave(organization, w) {
		s.release(organization, w.weight) // it was granted meanwhile
	}
	return context.Cause(ctx)
}

// leave removes a waiter from its queue, and returns false if it is not there.
func (s *Semaphore) leave(organization uuid.UUID, w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.holders[organization]
	for i, other := range h.queue {
		if other == w {
			h.queue = slices.Delete(h.queue, i, i+1)
			if len(h.queue) == 0 {
				s.turns = slices.DeleteFunc(s.turns, func(other *holder) bool { return other == h })
			}
			s.advance()
			s.forget(organization)
			return true
		}
	}
	return false
}

func (s *Semaphore) release(organization uuid.UUID, weight int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= weight
	s.holders[organization].held -= weight
	s.advance()
	s.forget(organization)
}

// forget removes an organization that holds nothing and waits for nothing. It requires the lock.
func (s *Semaphore) forget(organization uuid.UUID) {
	if h := s.holders[organization]; h != nil && h.held == 0 && len(h.queue) == 0 {
		delete(s.holders, organization)
	}
}

// advance grants what is free, to one waiter of each organization in turn. An organization whose share
// is used up is passed over. One that needs more than is free is waited for, so that callers with small
// weights cannot overtake it for ever. It requires the lock.
func (s *Semaphore) advance() {
	for i := 0; i < len(s.turns); {
		h := s.turns[i]
		switch {
		case h.held+h.queue[0].weight > s.limits.Share:
			i++
		case s.held+h.queue[0].weight > s.limits.Size:
			return
		default:
			next := h.queue[0]
			h.queue = h.queue[1:]
			s.grant(h, next.weight)
			close(next.granted)
			s.turns = slices.Delete(s.turns, i, i+1)
			if len(h.queue) > 0 {
				s.turns = append(s.turns, h)
			}
			i = 0
		}
	}
}
