package realtime

import (
	"cmp"
	"sync"

	"github.com/google/uuid"
)

// defaultQueueLimit is the queue limit of a Bus that sets none.
const defaultQueueLimit = 64

// Bus delivers events of one type to the subscriptions of a topic within this process.
// Delivery is at most once; a subscription receives the events of each publisher in
// order. A slow subscription never delays a publisher or another subscription.
//
// The zero Bus is ready to use. It is safe for concurrent use.
type Bus[E any] struct {
	// QueueLimit bounds the events that wait for one subscription; further ones are
	// dropped. Set it before the first Subscribe. 0 means 64.
	QueueLimit int

	// mu guards topics and the subscriptions' wake functions. Publish holds it for
	// reading, so after Close returns no publisher still uses the subscription.
	mu     sync.RWMutex
	topics map[uuid.UUID]map[*Subscription[E]]struct{}
}

// Subscription receives the events of one topic.
type Subscription[E any] struct {
	Topic uuid.UUID
	// Events holds the events published since Subscribe, in order.
	Events <-chan E
	// Missed holds one value if an event was dropped because Events was full. The
	// subscriber must then catch up from the database.
	Missed <-chan struct{}

	bus    *Bus[E]
	events chan E
	missed chan struct{}
	wake   func()
}

// Subscribe subscribes to a topic until Close is called.
func (b *Bus[E]) Subscribe(topic uuid.UUID) *Subscription[E] {
	s := &Subscription[E]{Topic: topic, bus: b, events: make(chan E, cmp.Or(b.QueueLimit, defaultQueueLimit)), missed: make(chan struct{}, 1)}
	s.Events, s.Missed = s.events, s.missed
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.topics == nil {
		b.topics = make(map[uuid.UUID]map[*Subscription[E]]struct{})
	}
	if b.topics[topic] == nil {
		b.topics[topic] = make(map[*Subscription[E]]struct{})
	}
	b.topics[topic][s] = struct{}{}
	return s
}

// OnEvent registers a function that is called after a value was added to Events or
// Missed, so that no goroutine has to wait for one. The publisher calls it while it
// holds the bus: it must not block and must not call the bus.
func (s *Subscription[E]) OnEvent(wake func()) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.wake = wake
}

// Close ends the subscription. It does not close the channels. Closing twice is safe.
func (s *Subscription[E]) Close() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	subscriptions := s.bus.topics[s.Topic]
	delete(subscriptions, s)
	if len(subscriptions) == 0 {
		delete(s.bus.topics, s.Topic)
	}
}

// Publish delivers an event to all subscriptions of a topic. It never blocks: a
// subscription whose queue is full misses the event, which Missed reports.
func (b *Bus[E]) Publish(topic uuid.UUID, event E) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for s := range b.topics[topic] {
		select {
		case s.events <- event:
		default:
			select {
			case s.missed <- struct{}{}:
			default: // already marked
			}
		}
		if s.wake != nil {
			s.wake()
		}
	}
}
