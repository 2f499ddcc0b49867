package realtime_test

import (
	"testing"

	"github.com/google/uuid"

	"parley/internal/realtime"
)

// BenchmarkHotPublish tells a hundred watchers of an event, who take it.
func BenchmarkHotPublish(b *testing.B) {
	var bus realtime.Bus[*int]
	topic := uuid.New()
	watchers := make([]*realtime.Subscription[*int], 100)
	for i := range watchers {
		watchers[i] = bus.Subscribe(topic)
		watchers[i].Notify(func() {})
	}
	event := new(int)
	b.ReportAllocs()
	for b.Loop() {
		bus.Publish(topic, event)
		for _, one := range watchers {
			<-one.Events
		}
	}
}
