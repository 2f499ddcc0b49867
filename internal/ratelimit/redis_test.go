package ratelimit_test

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/internal/apperr"
	"parley/internal/ratelimit"
	"parley/internal/realtime"
	"parley/internal/redistest"
)

// shared returns a limiter on the Redis server, and its connection.
func shared(t *testing.T, redis *redistest.Server, limits ratelimit.Limits) (*ratelimit.Limiter, *realtime.Redis) {
	t.Helper()
	link, err := realtime.Open(t.Context(), redis.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	return ratelimit.NewShared(limits, link), link
}

func TestInstancesShareTheirCounts(t *testing.T) {
	t.Parallel()
	const limit = 60
	redis := redistest.Start(t)
	var instances [2]*ratelimit.Limiter
	for i := range instances {
		instances[i], _ = shared(t, redis, ratelimit.Limits{Messages: limit})
	}
	var allowed, refused atomic.Int64
	var requests sync.WaitGroup
	for i := range 4 * limit {
		requests.Go(func() {
			state, err := instances[i%2].Take(t.Context(), "messages", ratelimit.By("alice"))
			switch {
			case err == nil && state.Remaining >= 0 && state.Remaining < limit && state.Reset > 0 && state.Reset <= time.Minute:
				allowed.Add(1)
			case apperr.Is(err, apperr.RateLimited) && state.Remaining == 0:
				refused.Add(1)
			default:
				t.Errorf("Take returned %+v, %v", state, err)
			}
		})
	}
	requests.Wait()
	if allowed.Load() != limit || refused.Load() != 3*limit {
		t.Errorf("%d requests were allowed and %d refused, want %d and %d", allowed.Load(), refused.Load(), limit, 3*limit)
	}
	for _, l := range instances {
		state, appErr := mustRefuse(t, l, "messages", "alice")
		if state.Limit != limit || state.Remaining != 0 || appErr.RetryAfter != state.Reset {
			t.Errorf("over the limit: %+v, retry after %v", state, appErr.RetryAfter)
		}
		if state, err := l.Peek(t.Context(), "messages", ratelimit.By("bob")); err != nil || state != (ratelimit.State{Class: "messages", Limit: limit, Remaining: limit, Reset: time.Minute}) {
			t.Errorf("bob: %+v, %v", state, err)
		}
		if state := mustTake(t, l, "list", "alice"); state != (ratelimit.State{Class: "list"}) {
			t.Errorf("unlimited class: %+v", state)
		}
	}
}

// Refused requests and Peek do not extend the window, which lasts a minute from the first request.
func TestSharedWindowStartsWithTheFirstRequest(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	l, _ := shared(t, redis, ratelimit.Limits{Messages: 2})
	start := time.Now()
	first := mustTake(t, l, "messages", "alice")
	second := mustTake(t, l, "messages", "alice")
	last := second.Reset
	for range 20 {
		state, _ := mustRefuse(t, l, "messages", "alice")
		peeked, err := l.Peek(t.Context(), "messages", ratelimit.By("alice"))
		if state.Reset > last || peeked.Reset > state.Reset || err != nil || state.Reset < time.Minute-time.Since(start) {
			t.Errorf("reset is %v after %v, then Peek returned %v, %v", state.Reset, last, peeked.Reset, err)
		}
		last = peeked.Reset
	}
	if first.Remaining != 1 || second.Remaining != 0 || second.Reset > first.Reset {
		t.Errorf("first %+v, second %+v", first, second)
	}
}

// The shared counts continue when Redis returns.
func TestInstancesCountLocallyWhileRedisIsUnavailable(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	limits := ratelimit.Limits{Messages: 2}
	first, link := shared(t, redis, limits)
	second, otherLink := shared(t, redis, limits)
	mustTake(t, first, "messages", "alice")
	mustTake(t, second, "messages", "alice")
	mustRefuse(t, first, "messages", "alice")
	redis.Stop()
	for _, l := range []*ratelimit.Limiter{first, second} {
		mustTake(t, l, "messages", "alice")
		mustTake(t, l, "messages", "alice")
		mustRefuse(t, l, "messages", "alice")
	}
	redis.Start()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for link.Unavailable() || otherLink.Unavailable() {
		<-poll.C
	}
	mustTake(t, first, "messages", "alice")
	mustTake(t, second, "messages", "alice")
	mustRefuse(t, first, "messages", "alice")
	mustRefuse(t, second, "messages", "alice")
}

func BenchmarkTakeShared(b *testing.B) {
	link, err := realtime.Open(b.Context(), redistest.Start(b).URL, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer link.Close()
	l := ratelimit.NewShared(ratelimit.Limits{Messages: 1 << 30}, link)
	for b.Loop() {
		if _, err := l.Take(b.Context(), "messages", ratelimit.By("alice")); err != nil {
			b.Fatal(err)
		}
	}
}
