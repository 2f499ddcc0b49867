package metrics_test

import (
	"testing"
	"time"

	"parley/internal/metrics"
)

// BenchmarkHotRequest measures the cost of counting one request.
func BenchmarkHotRequest(b *testing.B) {
	requests := metrics.NewRequests(metrics.New())
	send := requests.Operation("sendMessage", "POST")
	b.ReportAllocs()
	for b.Loop() {
		requests.Begin()
		requests.Done(send, 201, 700*time.Microsecond)
	}
}
