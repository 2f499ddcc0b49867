package ratelimit_test

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"parley/internal/apperr"
	"parley/internal/ratelimit"
)

// taken counts a request that must be let through.
func taken(t *testing.T, l *ratelimit.Limiter, class, caller string) ratelimit.State {
	t.Helper()
	state, err := l.Take(t.Context(), class, caller)
	if err != nil {
		t.Fatalf("%s of %s: %v", class, caller, err)
	}
	return state
}

// refused counts a request that must not be let through.
func refused(t *testing.T, l *ratelimit.Limiter, class, caller string) (ratelimit.State, *apperr.Error) {
	t.Helper()
	state, err := l.Take(t.Context(), class, caller)
	told, ok := errors.AsType[*apperr.Error](err)
	if !ok || told.Kind != apperr.RateLimited || told.RetryAfter <= 0 || told.RetryAfter > time.Minute || told.Message == "" {
		t.Fatalf("%s of %s: %v", class, caller, err)
	}
	return state, told
}

func TestSoManyRequestsAMinuteAreLetThrough(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(map[string]int{"messages": 3})
	before, err := l.Peek(t.Context(), "messages", "alice")
	if want := (ratelimit.State{Class: "messages", Limit: 3, Remaining: 3, Reset: time.Minute}); err != nil || before != want {
		t.Errorf("at first it is %+v, %v", before, err)
	}
	for i := range 3 {
		state := taken(t, l, "messages", "alice")
		if state.Class != "messages" || state.Limit != 3 || state.Remaining != 2-i || state.Reset <= 0 || state.Reset > time.Minute {
			t.Errorf("request %d: %+v", i+1, state)
		}
	}
	for range 5 {
		state, told := refused(t, l, "messages", "alice")
		if state.Limit != 3 || state.Remaining != 0 || state.Reset <= 0 || told.RetryAfter != state.Reset {
			t.Errorf("over the limit: %+v, %v", state, told.RetryAfter)
		}
		if peeked, err := l.Peek(t.Context(), "messages", "alice"); err != nil || peeked.Remaining != 0 || peeked.Reset <= 0 || peeked.Reset > time.Minute {
			t.Errorf("looked at: %+v, %v", peeked, err)
		}
	}
}

func TestALookCountsNothing(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(map[string]int{"messages": 2})
	for range 10 {
		if state, err := l.Peek(t.Context(), "messages", "alice"); err != nil || state.Remaining != 2 {
			t.Fatalf("%+v, %v", state, err)
		}
	}
	taken(t, l, "messages", "alice")
	for range 10 {
		if state, err := l.Peek(t.Context(), "messages", "alice"); err != nil || state.Remaining != 1 {
			t.Fatalf("%+v, %v", state, err)
		}
	}
	taken(t, l, "messages", "alice")
}

func TestClassesAndCallersAreCountedEachOnItsOwn(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(map[string]int{"messages": 1, "history": 1})
	other := ratelimit.New(map[string]int{"messages": 1})
	taken(t, l, "messages", "alice")
	taken(t, l, "messages", "bob")
	taken(t, l, "history", "alice")
	taken(t, other, "messages", "alice")
	refused(t, l, "messages", "alice")
	refused(t, l, "history", "alice")
	refused(t, l, "messages", "bob")
	taken(t, l, "history", "bob")
}

func TestZeroIsNoLimitAndAnUnknownClassIsAMistake(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(map[string]int{"messages": 0})
	for range 1000 {
		if state := taken(t, l, "messages", "alice"); state != (ratelimit.State{Class: "messages"}) {
			t.Fatalf("%+v", state)
		}
	}
	if state, err := l.Peek(t.Context(), "messages", "alice"); err != nil || state.Limit != 0 {
		t.Errorf("%+v, %v", state, err)
	}
	if _, err := l.Take(t.Context(), "mesages", "alice"); err == nil || apperr.KindOf(err) != apperr.Internal {
		t.Errorf("an unknown class: %v", err)
	}
	if _, err := l.Peek(t.Context(), "mesages", "alice"); err == nil || apperr.KindOf(err) != apperr.Internal {
		t.Errorf("an unknown class, looked at: %v", err)
	}
}

// Of requests that come at once exactly as many as are allowed are let through.
func TestExactlySoManyOfManyAtOnceAreLetThrough(t *testing.T) {
	t.Parallel()
	const limit = 60
	l := ratelimit.New(map[string]int{"messages": limit, "list": limit})
	var through, stopped [2]atomic.Int64
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range 2 * 10 * limit {
		class := []string{"messages", "list"}[i%2]
		all.Go(func() {
			<-begin
			state, err := l.Take(t.Context(), class, "alice")
			switch {
			case err == nil && state.Remaining >= 0 && state.Remaining < limit:
				through[i%2].Add(1)
			case apperr.Is(err, apperr.RateLimited) && state.Remaining == 0:
				stopped[i%2].Add(1)
			}
		})
	}
	close(begin)
	all.Wait()
	for i := range 2 {
		if through[i].Load() != limit || stopped[i].Load() != 9*limit {
			t.Errorf("%d are let through, %d are not", through[i].Load(), stopped[i].Load())
		}
	}
}

// inWindow runs fn in time of its own. The limiter is made outside, because what cleans
// its memory never comes to rest.
func inWindow(t *testing.T, limits map[string]int, fn func(*testing.T, *ratelimit.Limiter)) {
	t.Helper()
	l := ratelimit.New(limits)
	synctest.Test(t, func(t *testing.T) { fn(t, l) })
}

// The window begins with the first request, wherever in a second that is, and is a
// minute long; what is refused in it does not lengthen it.
func TestTheWindowIsAMinuteFromTheFirstRequest(t *testing.T) {
	t.Parallel()
	for _, begin := range []time.Duration{0, time.Nanosecond, 499 * time.Millisecond, 999999999} {
		inWindow(t, map[string]int{"messages": 2}, func(t *testing.T, l *ratelimit.Limiter) {
			time.Sleep(begin)
			first := time.Now()
			taken(t, l, "messages", "alice")
			time.Sleep(20 * time.Second)
			taken(t, l, "messages", "alice")
			for time.Since(first) < 59*time.Second {
				state, told := refused(t, l, "messages", "alice")
				rest := time.Minute - time.Since(first)
				if told.RetryAfter < rest || told.RetryAfter > rest+time.Second || state.Reset != told.RetryAfter {
					t.Errorf("after %v: try again after %v", time.Since(first), told.RetryAfter)
				}
				time.Sleep(700 * time.Millisecond)
			}
			time.Sleep(time.Minute - time.Since(first))
			refused(t, l, "messages", "alice")
			time.Sleep(time.Nanosecond)
			if state := taken(t, l, "messages", "alice"); state.Remaining != 1 || state.Reset <= 59*time.Second || state.Reset > time.Minute {
				t.Errorf("the next window: %+v", state)
			}
			taken(t, l, "messages", "alice")
			refused(t, l, "messages", "alice")
		})
	}
}

// Whoever waits as long as it was told, in whole seconds, is let through.
func TestAfterRetryAfterTheNextRequestIsLetThrough(t *testing.T) {
	t.Parallel()
	for _, begin := range []time.Duration{time.Nanosecond, 250 * time.Millisecond, 999 * time.Millisecond} {
		for _, later := range []time.Duration{time.Nanosecond, time.Second, 30500 * time.Millisecond, 59999 * time.Millisecond} {
			inWindow(t, map[string]int{"messages": 1}, func(t *testing.T, l *ratelimit.Limiter) {
				time.Sleep(begin)
				taken(t, l, "messages", "alice")
				time.Sleep(later)
				_, told := refused(t, l, "messages", "alice")
				after := math.Ceil(told.RetryAfter.Seconds())
				if after < 1 || after > 60 {
					t.Errorf("try again after %v seconds", after)
				}
				time.Sleep(time.Duration(after) * time.Second)
				taken(t, l, "messages", "alice")
			})
		}
	}
}

// A caller that comes back after long has a whole window.
func TestAnOldWindowIsForgotten(t *testing.T) {
	t.Parallel()
	inWindow(t, map[string]int{"messages": 5}, func(t *testing.T, l *ratelimit.Limiter) {
		taken(t, l, "messages", "alice")
		time.Sleep(24 * time.Hour)
		if state, err := l.Peek(t.Context(), "messages", "alice"); err != nil || state.Remaining != 5 || state.Reset != time.Minute {
			t.Errorf("%+v, %v", state, err)
		}
		if state := taken(t, l, "messages", "alice"); state.Remaining != 4 {
			t.Errorf("%+v", state)
		}
	})
}
