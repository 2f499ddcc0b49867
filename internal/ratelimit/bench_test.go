package ratelimit_test

import (
	"testing"

	"parley/internal/ratelimit"
)

func BenchmarkHotTake(b *testing.B) {
	limiter := ratelimit.New(ratelimit.Limits{Messages: 1 << 40})
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := limiter.Take(ctx, "messages", ratelimit.By("0198a5b2-7c1e-7d3f-9a4b-5c6d7e8f9a0b")); err != nil {
			b.Fatal(err)
		}
	}
}
