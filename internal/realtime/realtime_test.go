package realtime_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"parley/internal/realtime"
)

// queued takes what waits for a watcher, and tells whether it has missed something.
func queued[E any](s *realtime.Subscription[E]) (events []E, isMissed bool) {
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

func TestEventsComeInOrderToAllWhoWatchTheTopic(t *testing.T) {
	t.Parallel()
	var bus realtime.Bus[int]
	topic, other := uuid.New(), uuid.New()
	bus.Publish(topic, -1) // before anybody watches
	first, second, elsewhere := bus.Subscribe(topic), bus.Subscribe(topic), bus.Subscribe(other)
	for i := range 64 {
		bus.Publish(topic, i)
	}
	bus.Publish(other, 1000)
	bus.Publish(uuid.New(), 2000)
	for _, s := range []*realtime.Subscription[int]{first, second} {
		got, isMissed := queued(s)
		if len(got) != 64 || isMissed || s.Topic != topic {
			t.Fatalf("%v, missed %v", got, isMissed)
		}
		for i, event := range got {
			if event != i {
				t.Errorf("%d comes as number %d", event, i)
			}
		}
	}
	if got, isMissed := queued(elsewhere); len(got) != 1 || got[0] != 1000 || isMissed {
		t.Errorf("the other topic: %v, %v", got, isMissed)
	}
}

// A watcher that does not read is told once that it missed something; what it has got
// is what came first, and it goes on after.
func TestASlowWatcherMissesAndIsTold(t *testing.T) {
	t.Parallel()
	var bus realtime.Bus[int]
	topic := uuid.New()
	slow, quick := bus.Subscribe(topic), bus.Subscribe(topic)
	const count = 10_000
	for i := range count {
		bus.Publish(topic, i) // never waits
		if got := <-quick.Events; got != i {
			t.Fatalf("the quick one gets %d, not %d", got, i)
		}
	}
	got, isMissed := queued(slow)
	if len(got) == 0 || len(got) > 1000 || got[len(got)-1] != len(got)-1 || !isMissed {
		t.Errorf("%d events, missed %v", len(got), isMissed)
	}
	if _, isMissed := queued(quick); isMissed {
		t.Error("the quick one has missed something")
	}
	bus.Publish(topic, count)
	if got, isMissed := queued(slow); len(got) != 1 || got[0] != count || isMissed {
		t.Errorf("afterwards: %v, missed %v", got, isMissed)
	}
}

func TestNothingComesAfterClose(t *testing.T) {
	t.Parallel()
	var bus realtime.Bus[int]
	topic := uuid.New()
	left, stays := bus.Subscribe(topic), bus.Subscribe(topic)
	bus.Publish(topic, 1)
	left.Close()
	bus.Publish(topic, 2)
	left.Close() // again is no matter
	bus.Publish(topic, 3)
	if got, isMissed := queued(left); len(got) != 1 || got[0] != 1 || isMissed {
		t.Errorf("closed: %v, missed %v", got, isMissed)
	}
	if got, _ := queued(stays); len(got) != 3 {
		t.Errorf("open: %v", got)
	}
	stays.Close()
	bus.Publish(topic, 4)
	again := bus.Subscribe(topic)
	bus.Publish(topic, 5)
	if got, _ := queued(again); len(got) != 1 || got[0] != 5 {
		t.Errorf("subscribed again: %v", got)
	}
}

// Who has asked for it is notified of each event, of those too that it misses, once they can be taken; and of nothing after
// Close.
func TestAWatcherCanBeNotified(t *testing.T) {
	t.Parallel()
	bus := realtime.Bus[int]{QueueLimit: 2}
	topic := uuid.New()
	s := bus.Subscribe(topic)
	bus.Publish(topic, 0) // of which nobody is notified
	var waiting, missed []int
	s.Notify(func() {
		waiting = append(waiting, len(s.Events))
		missed = append(missed, len(s.Missed))
	})
	for i := range 3 {
		bus.Publish(topic, i+1)
	}
	bus.Publish(uuid.New(), 1)
	s.Close()
	bus.Publish(topic, 5)
	if !slices.Equal(waiting, []int{2, 2, 2}) || !slices.Equal(missed, []int{0, 1, 1}) {
		t.Errorf("%v, missed %v", waiting, missed)
	}
}

// Publishers, and watchers that come and go: each watcher sees every publisher's events
// in their order, without gap unless it is told.
func TestTheBusIsUsedByManyAtOnce(t *testing.T) {
	t.Parallel()
	type event struct{ publisher, n int }
	var bus realtime.Bus[event]
	topics := []uuid.UUID{uuid.New(), uuid.New(), uuid.New()}
	const publishers, count = 4, 2000
	stop := make(chan struct{})
	var watchers, publishing sync.WaitGroup
	for i := range 24 {
		watchers.Go(func() {
			for n := 0; ; n++ {
				s := bus.Subscribe(topics[i%len(topics)])
				last := map[int]int{}
				for range 100 {
					select {
					case got := <-s.Events:
						before, isKnown := last[got.publisher]
						if isKnown && got.n <= before {
							t.Errorf("%d of publisher %d comes after %d", got.n, got.publisher, before)
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
	watchers.Wait()
}

// BenchmarkPublish gives an event to 1,000 watchers who read.
func BenchmarkPublish(b *testing.B) {
	var bus realtime.Bus[*int]
	topic := uuid.New()
	subscriptions := make([]*realtime.Subscription[*int], 1000)
	for i := range subscriptions {
		subscriptions[i] = bus.Subscribe(topic)
	}
	event := new(int)
	for b.Loop() {
		bus.Publish(topic, event)
		for _, s := range subscriptions {
			<-s.Events
		}
	}
}

// BenchmarkPublishToTheSlow gives an event to 1,000 watchers of whom none reads.
func BenchmarkPublishToTheSlow(b *testing.B) {
	var bus realtime.Bus[*int]
	topic := uuid.New()
	for range 1000 {
		bus.Subscribe(topic)
	}
	event := new(int)
	for b.Loop() {
		bus.Publish(topic, event)
	}
}
