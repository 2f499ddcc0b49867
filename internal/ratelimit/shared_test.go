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

func joined(t *testing.T, redis *redistest.Server, limits map[string]int) (*ratelimit.Limiter, *realtime.Redis) {
	t.Helper()
	link, err := realtime.Open(t.Context(), redis.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	return ratelimit.NewShared(limits, link), link
}

// A minute's requests of one caller are counted together, at whichever instance.
func TestInstancesCountTogether(t *testing.T) {
	t.Parallel()
	const limit = 60
	redis := redistest.Start(t)
	var instances [2]*ratelimit.Limiter
	for i := range instances {
		instances[i], _ = joined(t, redis, map[string]int{"messages": limit, "list": 0})
	}
	var through, stopped atomic.Int64
	var all sync.WaitGroup
	for i := range 4 * limit {
		all.Go(func() {
			state, err := instances[i%2].Take(t.Context(), "messages", "alice")
			switch {
			case err == nil && state.Remaining >= 0 && state.Remaining < limit && state.Reset > 0 && state.Reset <= time.Minute:
				through.Add(1)
			case apperr.Is(err, apperr.RateLimited) && state.Remaining == 0:
				stopped.Add(1)
			default:
				t.Errorf("%+v, %v", state, err)
			}
		})
	}
	all.Wait()
	if through.Load() != limit || stopped.Load() != 3*limit {
		t.Errorf("%d are let through, %d are not", through.Load(), stopped.Load())
	}
	for _, l := range instances {
		state, told := refused(t, l, "messages", "alice")
		if state.Limit != limit || state.Remaining != 0 || told.RetryAfter != state.Reset {
			t.Errorf("%+v, %v", state, told.RetryAfter)
		}
		if state, err := l.Peek(t.Context(), "messages", "bob"); err != nil || state != (ratelimit.State{Class: "messages", Limit: limit, Remaining: limit, Reset: time.Minute}) {
			t.Errorf("bob: %+v, %v", state, err)
		}
		if state := taken(t, l, "list", "alice"); state != (ratelimit.State{Class: "list"}) {
			t.Errorf("%+v", state)
		}
	}
}

// What is refused or looked at does not lengthen the window, which is a minute from the
// first request.
func TestTheSharedWindowBeginsWithTheFirstRequest(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	l, _ := joined(t, redis, map[string]int{"messages": 2})
	began := time.Now()
	first := taken(t, l, "messages", "alice")
	second := taken(t, l, "messages", "alice")
	last := second.Reset
	for range 20 {
		state, _ := refused(t, l, "messages", "alice")
		peeked, err := l.Peek(t.Context(), "messages", "alice")
		if state.Reset > last || peeked.Reset > state.Reset || err != nil || state.Reset < time.Minute-time.Since(began) {
			t.Errorf("%v after %v, then %v, %v", state.Reset, last, peeked.Reset, err)
		}
		last = peeked.Reset
	}
	if first.Remaining != 1 || second.Remaining != 0 || second.Reset > first.Reset {
		t.Errorf("%+v, %+v", first, second)
	}
}

// Without Redis each instance counts for itself, and together again as soon as it is back.
func TestInstancesCountAloneWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	limits := map[string]int{"messages": 2}
	first, link := joined(t, redis, limits)
	second, otherLink := joined(t, redis, limits)
	taken(t, first, "messages", "alice")
	taken(t, second, "messages", "alice")
	refused(t, first, "messages", "alice")
	redis.Stop()
	for _, l := range []*ratelimit.Limiter{first, second} {
		taken(t, l, "messages", "alice")
		taken(t, l, "messages", "alice")
		refused(t, l, "messages", "alice")
	}
	redis.Start()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for link.Unavailable() || otherLink.Unavailable() {
		<-look.C
	}
	taken(t, first, "messages", "alice")
	taken(t, second, "messages", "alice")
	refused(t, first, "messages", "alice")
	refused(t, second, "messages", "alice")
}

// BenchmarkTakeShared counts a request in Redis.
func BenchmarkTakeShared(b *testing.B) {
	link, err := realtime.Open(b.Context(), redistest.Start(b).URL, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer link.Close()
	l := ratelimit.NewShared(map[string]int{"messages": 1 << 30}, link)
	for b.Loop() {
		if _, err := l.Take(b.Context(), "messages", "alice"); err != nil {
			b.Fatal(err)
		}
	}
}
