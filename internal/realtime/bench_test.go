package realtime_test

import (
	"testing"

	"github.com/google/uuid"

	"parley/internal/realtime"
)

// BenchmarkHotPublish publishes to 100 subscriptions that are read at once.
func BenchmarkHotPublish(b *testing.B) {
	var bus realtime.Bus[*int]
	topic := uuid.New()
	subscriptions := make([]*realtime.Subscription[*int], 100)
	for i := range subscriptions {
		subscriptions[i] = bus.Subscribe(topic)
		subscriptions[i].OnEvent(func() {})
	}
	event := new(int)
	b.ReportAllocs()
	for b.Loop() {
		bus.Publish(topic, event)
		for _, s := range subscriptions {
			<-s.Events
		}
	}
}

// BenchmarkPublish publishes to 1,000 subscriptions that are read at once.
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

// BenchmarkPublishToFullQueues publishes to 1,000 subscriptions that are never read.
func BenchmarkPublishToFullQueues(b *testing.B) {
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
