package wsapi

import (
	"context"
	"errors"
	"time"
)

// runClock looks after the time limits of all open sockets, until none is left.
func (s *Sockets) runClock(stop <-chan struct{}) {
	defer s.running.Done()
	ticker := time.NewTicker(s.Limits.precision())
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			s.mu.Lock()
			for one := range s.open {
				one.look(now)
			}
			s.mu.Unlock()
		case <-stop:
			return
		}
	}
}

// precision is how exactly the limits are kept: a second, or better where they are
// short.
func (l Limits) precision() time.Duration {
	precision := time.Second
	for _, limit := range []time.Duration{l.PingInterval, l.WritePatience, l.IdleTime} {
		if limit > 0 {
			precision = min(precision, limit/4)
		}
	}
	return max(precision, time.Millisecond)
}

// look does what the time demands; the clock calls it, and it never waits.
func (s *socket) look(now time.Time) {
	limits := &s.sockets.Limits
	s.line.hurry(now.Add(-limits.WritePatience))
	if end := s.watch.ExpiresAt; end != nil && !s.watch.IsAnonymous { // a visit's end is an event
		if !s.isWarned && now.After(end.Add(-expiryWarning)) {
			s.isWarned = true
			s.isEnding.Store(true)
			s.wake()
		}
		if !now.Before(*end) {
			s.end(errExpired)
		}
	}
	if limits.IdleTime > 0 && now.UnixNano()-s.lastActive.Load() >= int64(limits.IdleTime) {
		s.end(errIdle)
	}
	if s.nextPing.IsZero() {
		s.nextPing = now.Add(limits.PingInterval)
	}
	// While a frame is being written its acceptance tells as much as an answer.
	if now.Before(s.nextPing) || s.line.writing.Load() != 0 {
		return
	}
	s.nextPing = now.Add(limits.PingInterval)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isPinging && !s.isOver {
		s.isPinging = true
		s.helpers.Go(s.ping)
	}
}

// expiryWarning is how long before the end of a key or a token the client is told.
const expiryWarning = time.Minute

// ping sends a ping and waits for the answer, which is seen by the reader.
func (s *socket) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), s.sockets.Limits.PingPatience)
	defer cancel()
	if err := s.conn.Ping(ctx); err != nil {
		s.end(errors.Join(errSilent, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isPinging = false
}
