package realtime

import (
	"cmp"
	"sync"

	"github.com/google/uuid"
)

// queueLimit is how many events wait for a watcher before it starts to miss some,
// where nothing else is said.
const queueLimit = 64

// Bus carries events of one type within this process. The zero Bus is ready to use;
// it is safe for concurrent use.
type Bus[E any] struct {
	// QueueLimit is how many events wait for a watcher before it starts to miss some;
	// set before the first watcher. 0: 64.
	QueueLimit int

	mu     sync.RWMutex
	topics map[uuid.UUID]map[*Subscription[E]]struct{}
}

// Subscription is one watcher's view of a topic.
type Subscription[E any] struct {
	Topic uuid.UUID
	// Events holds what was published since the subscription began, in order.
	Events <-chan E
	// Missed gets a value when an event found Events full and was dropped.
	Missed <-chan struct{}

	bus    *Bus[E]
	events chan E
	missed chan struct{}
	wake   func()
}

// Subscribe begins to watch a topic. Close ends it.
func (b *Bus[E]) Subscribe(topic uuid.UUID) *Subscription[E] {
	s := &Subscription[E]{Topic: topic, bus: b, events: make(chan E, cmp.Or(b.QueueLimit, queueLimit)), missed: make(chan struct{}, 1)}
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

// Notify has wake called whenever Events or Missed has got something, so that nobody
// needs to wait for it. It is called by who publishes: it must not wait.
func (s *Subscription[E]) Notify(wake func()) {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.wake = wake
}

// Close ends the subscription; its channels are not closed.
func (s *Subscription[E]) Close() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	watchers := s.bus.topics[s.Topic]
	delete(watchers, s)
	if len(watchers) == 0 {
		delete(s.bus.topics, s.Topic)
	}
}

// Publish gives an event to all who watch a topic. It never waits.
func (b *Bus[E]) Publish(topic uuid.UUID, event E) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for s := range b.topics[topic] {
		select {
		case s.events <- event:
		default:
			select {
			case s.missed <- struct{}{}:
			default: // it knows already
			}
		}
		if s.wake != nil {
			s.wake()
		}
	}
}
