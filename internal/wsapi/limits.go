package wsapi

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"parley/internal/apperr"
)

// Limits are what a socket may take of the server.
type Limits struct {
	// PerUser, PerAddress and Visitors bound the open sockets of a user, of an address,
	// and of the visitors from an address. 0: any number.
	PerUser, PerAddress, Visitors int
	// PingInterval is how often a ping is sent, and PingPatience how long its answer may
	// take. 0: 25 s and 20 s.
	PingInterval, PingPatience time.Duration
	// WritePatience is how long a client may take to accept a frame. 0: 10 s.
	WritePatience time.Duration
	// IdleTime is how long a socket may be silent in both directions. 0: for ever.
	IdleTime time.Duration
}

func (l Limits) withDefaults() Limits {
	l.PingInterval = cmp.Or(l.PingInterval, 25*time.Second)
	l.PingPatience = cmp.Or(l.PingPatience, 20*time.Second)
	l.WritePatience = cmp.Or(l.WritePatience, 10*time.Second)
	return l
}

// claim is a place that a socket takes among those of its kind.
type claim struct {
	holder  string
	limit   int // 0: none
	refusal string
}

// claims are the places that a socket takes.
func (l Limits) claims(one *socket) []claim {
	all := []claim{{"address " + one.address, l.PerAddress, "%d sockets are open from your address, and there may be no more."}}
	if one.who.IsAnonymous() {
		return append(all, claim{"visitors " + one.address, l.Visitors, "%d visitors' sockets are open from your address, and there may be no more."})
	}
	return append(all, claim{"user " + one.who.UserID.String(), l.PerUser, "You have %d sockets open, and a user may have no more."})
}

// placesRetry is when a client that was refused a place may try again.
const placesRetry = 5 * time.Second

// places counts the places that are taken. The zero places is ready to use.
type places struct {
	mu    sync.Mutex
	taken map[string]int
}

// take takes all the places, or none where one of them is full.
func (p *places) take(claims []claim) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range claims {
		if one.limit > 0 && p.taken[one.holder] >= one.limit {
			return &apperr.Error{Kind: apperr.RateLimited, Message: fmt.Sprintf(one.refusal, one.limit), RetryAfter: placesRetry}
		}
	}
	if p.taken == nil {
		p.taken = make(map[string]int)
	}
	for _, one := range claims {
		p.taken[one.holder]++
	}
	return nil
}

func (p *places) leave(claims []claim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range claims {
		if p.taken[one.holder]--; p.taken[one.holder] == 0 {
			delete(p.taken, one.holder)
		}
	}
}
