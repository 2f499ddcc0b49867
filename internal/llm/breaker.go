package llm

import (
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// maxFailures is the number of consecutive failures that opens a circuit.
	maxFailures = 3
	// openTime is how long a circuit stays open after the latest failure.
	openTime = 15 * time.Second
	// maxCircuits bounds the memory of the circuit breaker.
	maxCircuits = 10_000
)

// serverID identifies a model server as used by one organization.
type serverID struct {
	organizationID uuid.UUID
	baseURL        string
}

// health is the state of a server that a call has shown.
type health int

const (
	healthUnknown health = iota // the call was abandoned, for example by its caller
	healthy
	unhealthy
)

// circuitBreaker rejects calls to servers that keep failing, so that callers get an error immediately instead of
// waiting for a timeout. It has one circuit per organization and server: an organization cannot open a circuit for
// others.
//
//	closed     Calls are allowed. The circuit opens after maxFailures consecutive failures.
//	open       Calls are rejected for openTime. Then the circuit is half-open.
//	half-open  One call, the probe, is allowed. Success closes the circuit; failure opens it again. After a probe
//	           without a result, the next call is the probe.
//
// Servers without failures take no memory. It is safe for concurrent use, and its zero value has all circuits closed.
type circuitBreaker struct {
	mu       sync.Mutex
	circuits map[serverID]*circuit // those of servers whose latest call failed
}

type circuit struct {
	failures    int // consecutive ones
	lastFailure time.Time
	isProbing   bool
}

// allow reports whether the server may be called. If so, the caller must call report exactly once.
func (b *circuitBreaker) allow(id serverID) (report func(health), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.circuits[id]
	isProbe := c != nil && c.failures >= maxFailures
	if isProbe {
		if c.isProbing || time.Since(c.lastFailure) < openTime {
			return nil, false
		}
		c.isProbing = true
	}
	return func(h health) { b.report(id, isProbe, h) }, true
}

func (b *circuitBreaker) report(id serverID, isProbe bool, h health) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.circuits[id]
	if c == nil {
		if h != unhealthy {
			return
		}
		c = b.add(id)
	}
	if isProbe {
		c.isProbing = false
	}
	switch h {
	case healthy:
		delete(b.circuits, id)
	case unhealthy:
		c.failures++
		c.lastFailure = time.Now()
	}
}

// add adds a circuit. If there are too many, it forgets an arbitrary one, which closes that
// circuit.
func (b *circuitBreaker) add(id serverID) *circuit {
	if b.circuits == nil {
		b.circuits = map[serverID]*circuit{}
	}
	for other := range b.circuits {
		if len(b.circuits) < maxCircuits {
			break
		}
		delete(b.circuits, other)
	}
	c := &circuit{}
	b.circuits[id] = c
	return c
}
