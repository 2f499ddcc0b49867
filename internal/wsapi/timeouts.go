package wsapi

import (
	"context"
	"errors"
	"time"
)

// expiryWarning is how long before a key or a token expires the client is warned.
const expiryWarning = time.Minute

// checkTimeouts checks the timeouts of all open sockets periodically. It runs while at least one
// socket is open.
func (s *Server) checkTimeouts(stop <-chan struct{}) {
	defer s.running.Done()
	defer s.clearFrameCaches()
	ticker := time.NewTicker(s.Limits.checkInterval())
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			s.mu.Lock()
			for socket := range s.open {
				socket.checkTimeouts(now)
			}
			s.mu.Unlock()
			s.clearFrameCaches()
		case <-stop:
			return
		}
	}
}

// checkInterval returns how often timeouts are checked: every second, or more often if a timeout is
// short.
func (l Limits) checkInterval() time.Duration {
	interval := time.Second
	for _, limit := range []time.Duration{l.PingInterval, l.WriteTimeout, l.IdleTimeout} {
		if limit > 0 {
			interval = min(interval, limit/4)
		}
	}
	return max(interval, time.Millisecond)
}

// checkTimeouts enforces the timeouts of the socket and sends a ping when one is due. It never blocks.
// Only the goroutine that holds Server.mu calls it.
func (s *socket) checkTimeouts(now time.Time) {
	limits := &s.server.Limits
	s.tcp.expireWrite(now.Add(-limits.WriteTimeout))
	if expiresAt := s.watch.ExpiresAt; expiresAt != nil && !s.watch.IsAnonymous { // a visit's expiry is an event
		if !s.isWarned && now.After(expiresAt.Add(-expiryWarning)) {
			s.isWarned = true
			s.warningDue.Store(true)
			s.wake()
		}
		if !now.Before(*expiresAt) {
			s.requestClose(errExpired)
		}
	}
	if limits.IdleTimeout > 0 && now.UnixNano()-s.lastActive.Load() >= int64(limits.IdleTimeout) {
		s.requestClose(errIdle)
	}
	if s.nextPing.IsZero() {
		s.nextPing = now.Add(limits.PingInterval)
	}
	// While a write is blocked, the write timeout covers a dead client, and a ping would block too.
	if now.Before(s.nextPing) || s.tcp.blockedSince.Load() != 0 {
		return
	}
	s.nextPing = now.Add(limits.PingInterval)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isPinging && !s.isClosed {
		s.isPinging = true
		s.goroutines.Go(s.ping)
	}
}

// ping sends a ping and waits for the pong, which the reader receives.
func (s *socket) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), s.server.Limits.PongTimeout)
	defer cancel()
	if err := s.conn.Ping(ctx); err != nil {
		s.requestClose(errors.Join(errPongTimeout, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isPinging = false
}
