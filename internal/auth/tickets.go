package auth

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"parley/internal/fault"
)

// maxTickets bounds the memory that tickets take.
const maxTickets = 100_000

// Tickets keep what can be taken once, within its time, in the memory of this process:
// what one process has put, another one cannot take. Whatever takes their place for
// several processes has the same Put and Take. They are safe for concurrent use.
type Tickets struct {
	mu   sync.Mutex
	kept map[[sha256.Size]byte]keptTicket
	// ends has all of a ticket's time, taken or not, in the order in which they were put.
	ends []ticketEnd
}

type keptTicket struct {
	value []byte
	until time.Time
}

type ticketEnd struct {
	of    [sha256.Size]byte
	until time.Time
}

// NewTickets makes Tickets without any.
func NewTickets() *Tickets {
	return &Tickets{kept: make(map[[sha256.Size]byte]keptTicket)}
}

// Put keeps a value under a ticket for some time, the same for all. When too many are
// kept it is Unavailable.
func (t *Tickets) Put(_ context.Context, ticket string, value []byte, lifetime time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for len(t.ends) > 0 && !now.Before(t.ends[0].until) {
		delete(t.kept, t.ends[0].of)
		t.ends = t.ends[1:]
	}
	if len(t.ends) >= maxTickets {
		return &fault.Error{Kind: fault.Unavailable, Message: "Too many tickets were made within a minute; try again later.", RetryAfter: 10 * time.Second}
	}
	hash, until := sha256.Sum256([]byte(ticket)), now.Add(lifetime)
	t.kept[hash] = keptTicket{value: value, until: until}
	t.ends = append(t.ends, ticketEnd{of: hash, until: until})
	return nil
}

// Take returns what is kept under a ticket, to the first who asks and within its time;
// nil to all others.
func (t *Tickets) Take(_ context.Context, ticket string) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hash := sha256.Sum256([]byte(ticket))
	kept, ok := t.kept[hash]
	delete(t.kept, hash)
	if !ok || !time.Now().Before(kept.until) {
		return nil, nil
	}
	return kept.value, nil
}
