package wsapi

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"parley/internal/apperr"
)

// Limits bound the resources that sockets use.
type Limits struct {
	// PerUser, PerAddress and Visitors limit the open sockets of a user, of an IP address, and of the
	// anonymous visitors from an IP address. 0 means unlimited.
	PerUser, PerAddress, Visitors int
	// PingInterval is the time between two pings. 0 means 25 s.
	PingInterval time.Duration
	// PongTimeout is how long a client may take to answer a ping. 0 means 20 s.
	PongTimeout time.Duration
	// WriteTimeout is how long a client may take to receive a frame. 0 means 10 s.
	WriteTimeout time.Duration
	// IdleTimeout is how long a socket stays open without a frame in either direction. 0 means forever.
	IdleTimeout time.Duration
}

func (l Limits) withDefaults() Limits {
	l.PingInterval = cmp.Or(l.PingInterval, 25*time.Second)
	l.PongTimeout = cmp.Or(l.PongTimeout, 20*time.Second)
	l.WriteTimeout = cmp.Or(l.WriteTimeout, 10*time.Second)
	return l
}

// quota is a limit that applies to a socket.
type quota struct {
	holder  string // whom the sockets are counted for
	limit   int    // 0 means unlimited
	refusal string
}

// quotas returns the limits that apply to a socket.
func (l Limits) quotas(s *socket) []quota {
	quotas := []quota{{"address " + s.address, l.PerAddress, "Your IP address has reached its limit of %d open sockets. Close one first."}}
	if s.caller.IsAnonymous() {
		return append(quotas, quota{"visitors " + s.address, l.Visitors, "Your IP address has reached its limit of %d open sockets for visitors. Close one first."})
	}
	return append(quotas, quota{"user " + s.caller.UserID.String(), l.PerUser, "You have reached your limit of %d open sockets. Close one first."})
}

// quotaRetryAfter is the Retry-After of a socket that was refused.
const quotaRetryAfter = 5 * time.Second

// socketCounter counts the open sockets of each holder. The zero socketCounter is ready to use.
type socketCounter struct {
	mu   sync.Mutex
	open map[string]int
}

// acquire counts a socket in all quotas, or in none if one of them is exhausted.
func (c *socketCounter) acquire(quotas []quota) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, quota := range quotas {
		if quota.limit > 0 && c.open[quota.holder] >= quota.limit {
			return &apperr.Error{Kind: apperr.RateLimited, Message: fmt.Sprintf(quota.refusal, quota.limit), RetryAfter: quotaRetryAfter}
		}
	}
	if c.open == nil {
		c.open = make(map[string]int)
	}
	for _, quota := range quotas {
		c.open[quota.holder]++
	}
	return nil
}

func (c *socketCounter) release(quotas []quota) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, quota := range quotas {
		if c.open[quota.holder]--; c.open[quota.holder] == 0 {
			delete(c.open, quota.holder)
		}
	}
}
