package realtime_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"parley/internal/realtime"
)

// drain reads all queued events and reports whether events were missed.
func drain[E any](s *realtime.Subscription[E]) (events []E, missed bool) {
	for {
		select {
		case event := <-s.Events:
			events = append(events, event)
			continue
		default:
		}
		select {
		case <-s.Missed:
			return events, true
		default:
			return events, false
		}
	}
}

func TestSubscriptionsReceiveTheirTopicInOrder(t *testing.T) {
	t.Parallel()
	var bus realtime.Bus[int]
	topic, other := uuid.New(), uuid.New()
	bus.Publish(topic, -1) // before the first subscription
	first, second, elsewhere := bus.Subscribe(topic), bus.Subscribe(topic), bus.Subscribe(other)
	for i := range 64 {
		bus.Publish(topic, i)
	}
	bus.Publish(other, 1000)
	bus.Publish(uuid.New(), 2000)
	for _, s := range []*realtime.Subscription[int]{first, second} {
		got, missed := drain(s)
		if len(got) != 64 || missed || s.Topic != topic {
			t.Fatalf("got %v, missed %v", got, missed)
		}
		for i, event := range got {
			if event != i {
				t.Errorf("event %d arrived at position %d", event, i)
			}
		}
	}
	if got, missed := drain(elsewhere); len(got) != 1 || got[0] != 1000 || missed {
		t.Errorf("the other topic received %v, missed %v", got, missed)
	}
}

// A full queue keeps its oldest events, marks the subscription once, and accepts events again after it was read.
func TestSlowSubscriptionMissesEvents(t *testing.T) {
	t.Parallel()
	var bus realtime.Bus[int]
	topic := uuid.New()
	slow, fast := bus.Subscribe(topic), bus.Subscribe(topic)
	const count = 10_000
	for i := range count {
		bus.Publish(topic, i) // must not block
		if got := <-fast.Events; got != i {
			t.Fatalf("the fast subscription received %d, want %d", got, i)
		}
	}
	got, missed := drain(slow)
	if len(got) == 0 || len(got) > 1000 || got[len(got)-1] != len(got)-1 || !missed {
		t.Errorf("the slow subscription received %d events, missed %v", len(got), missed)
	}
	if _, missed := drain(fast); missed {
		t.Error("the fast subscription missed events")
	}
	bus.Publish(topic, count)
	if got, missed := drain(slow); len(got) != 1 || got[0] != count || missed {
		t.Errorf("after it was read, the slow subscription received %v, missed %v", got, missed)
	}
}

func TestClosedSubscriptionReceivesNothing(t *testing.T) {
	t.Parallel()
	var bus realtime.Bus[int]
	topic := uuid.New()
	closed, open := bus.Subscribe(topic), bus.Subscribe(topic)
	bus.Publish(topic, 1)
	closed.Close()
	bus.Publish(topic, 2)
	closed.Close() // closing twice is safe
	bus.Publish(topic, 3)
	if got, missed := drain(closed); len(got) != 1 || got[0] != 1 || missed {
		t.Errorf("the closed subscription received %v, missed %v", got, missed)
	}
	if got, _ := drain(open); len(got) != 3 {
		t.Errorf("the open subscription received %v", got)
	}
	open.Close()
	bus.Publish(topic, 4)
	later := bus.Subscribe(topic)
	bus.Publish(topic, 5)
	if got, _ := drain(later); len(got) != 1 || got[0] != 5 {
		t.Errorf("the later subscription received %v", got)
	}
}

// The callback runs once per event, including missed ones, after the event was queued. It does not run after Close.
func TestOnEventIsCalledForEachEvent(t *testing.T) {
	t.Parallel()
	bus := realtime.Bus[int]{QueueLimit: 2}
	topic := uuid.New()
	s := bus.Subscribe(topic)
	bus.Publish(topic, 0) // before OnEvent
	var queued, missed []int
	s.OnEvent(func() {
		queued = append(queued, len(s.Events))
		missed = append(missed, len(s.Missed))
	})
	for i := range 3 {
		bus.Publish(topic, i+1)
	}
	bus.Publish(uuid.New(), 1)
	s.Close()
	bus.Publish(topic, 5)
	if !slices.Equal(queued, []int{2, 2, 2}) || !slices.Equal(missed, []int{0, 1, 1}) {
		t.Errorf("queued %v, missed %v", queued, missed)
	}
}

// While subscriptions start and end, each receives every publisher's events in order, without gaps unless Missed
// reports one.
func TestBusIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	type event struct{ publisher, n int }
	var bus realtime.Bus[event]
	topics := []uuid.UUID{uuid.New(), uuid.New(), uuid.New()}
	const publishers, count = 4, 2000
	stop := make(chan struct{})
	var subscribing, publishing sync.WaitGroup
	for i := range 24 {
		subscribing.Go(func() {
			for {
				s := bus.Subscribe(topics[i%len(topics)])
				last := map[int]int{} // by publisher
				for range 100 {
					select {
					case got := <-s.Events:
						if previous, ok := last[got.publisher]; ok && got.n <= previous {
							t.Errorf("event %d of publisher %d arrived after %d", got.n, got.publisher, previous)
						}
						last[got.publisher] = got.n
					case <-s.Missed:
						clear(last)
					case <-stop:
						s.Close()
						return
					}
				}
				s.Close()
			}
		})
	}
	for i := range publishers {
		publishing.Go(func() {
			for n := range count {
				for _, topic := range topics {
					bus.Publish(topic, event{i, n})
				}
			}
		})
	}
	publishing.Wait()
	close(stop)
	subscribing.Wait()
}
