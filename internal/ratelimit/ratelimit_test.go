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

// mustTake counts a request that must be allowed.
func mustTake(t *testing.T, l *ratelimit.Limiter, class, caller string) ratelimit.State {
	t.Helper()
	state, err := l.Take(t.Context(), class, ratelimit.By(caller))
	if err != nil {
		t.Fatalf("%s of %s: %v", class, caller, err)
	}
	return state
}

// mustRefuse counts a request that must be refused.
func mustRefuse(t *testing.T, l *ratelimit.Limiter, class, caller string) (ratelimit.State, *apperr.Error) {
	t.Helper()
	state, err := l.Take(t.Context(), class, ratelimit.By(caller))
	appErr, ok := errors.AsType[*apperr.Error](err)
	if !ok || appErr.Kind != apperr.RateLimited || appErr.RetryAfter <= 0 || appErr.RetryAfter > time.Minute || appErr.Message == "" {
		t.Fatalf("%s of %s: error %v, want rate limited with a delay of up to a minute", class, caller, err)
	}
	return state, appErr
}

// expectPeek checks the remaining requests of alice in the class messages.
func expectPeek(t *testing.T, l *ratelimit.Limiter, remaining int) {
	t.Helper()
	if state, err := l.Peek(t.Context(), "messages", ratelimit.By("alice")); err != nil || state.Remaining != remaining {
		t.Fatalf("Peek returned %+v, %v; want %d remaining", state, err, remaining)
	}
}

func TestTakeAllowsRequestsUpToTheLimit(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(ratelimit.Limits{Messages: 3})
	before, err := l.Peek(t.Context(), "messages", ratelimit.By("alice"))
	if want := (ratelimit.State{Class: "messages", Limit: 3, Remaining: 3, Reset: time.Minute}); err != nil || before != want {
		t.Errorf("before the first request: %+v, %v; want %+v", before, err, want)
	}
	for i := range 3 {
		state := mustTake(t, l, "messages", "alice")
		if state.Class != "messages" || state.Limit != 3 || state.Remaining != 2-i || state.Reset <= 0 || state.Reset > time.Minute {
			t.Errorf("request %d: %+v", i+1, state)
		}
	}
	for range 5 {
		state, appErr := mustRefuse(t, l, "messages", "alice")
		if state.Limit != 3 || state.Remaining != 0 || state.Reset <= 0 || appErr.RetryAfter != state.Reset {
			t.Errorf("over the limit: %+v, retry after %v", state, appErr.RetryAfter)
		}
		if peeked, err := l.Peek(t.Context(), "messages", ratelimit.By("alice")); err != nil || peeked.Remaining != 0 || peeked.Reset <= 0 || peeked.Reset > time.Minute {
			t.Errorf("Peek over the limit: %+v, %v", peeked, err)
		}
	}
}

func TestPeekDoesNotCount(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(ratelimit.Limits{Messages: 2})
	for range 10 {
		expectPeek(t, l, 2)
	}
	mustTake(t, l, "messages", "alice")
	for range 10 {
		expectPeek(t, l, 1)
	}
	mustTake(t, l, "messages", "alice")
}

func TestClassesAndCallersAreIndependent(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(ratelimit.Limits{Messages: 1, History: 1})
	other := ratelimit.New(ratelimit.Limits{Messages: 1})
	mustTake(t, l, "messages", "alice")
	mustTake(t, l, "messages", "bob")
	mustTake(t, l, "history", "alice")
	mustTake(t, other, "messages", "alice")
	mustRefuse(t, l, "messages", "alice")
	mustRefuse(t, l, "history", "alice")
	mustRefuse(t, l, "messages", "bob")
	mustTake(t, l, "history", "bob")
}

func TestLimitZeroIsUnlimited(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(ratelimit.Limits{})
	for range 1000 {
		if state := mustTake(t, l, "messages", "alice"); state != (ratelimit.State{Class: "messages"}) {
			t.Fatalf("unexpected state %+v", state)
		}
	}
	if state, err := l.Peek(t.Context(), "messages", ratelimit.By("alice")); err != nil || state.Limit != 0 {
		t.Errorf("Peek returned %+v, %v; want no limit", state, err)
	}
}

func TestUnknownClassIsAnInternalError(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(ratelimit.Limits{})
	if _, err := l.Take(t.Context(), "mesages", ratelimit.By("alice")); err == nil || apperr.KindOf(err) != apperr.Internal {
		t.Errorf("Take: error %v, want an internal error", err)
	}
	if _, err := l.Peek(t.Context(), "mesages", ratelimit.By("alice")); err == nil || apperr.KindOf(err) != apperr.Internal {
		t.Errorf("Peek: error %v, want an internal error", err)
	}
}

func TestConcurrentRequestsAreLimitedExactly(t *testing.T) {
	t.Parallel()
	const limit = 60
	l := ratelimit.New(ratelimit.Limits{Messages: limit, List: limit})
	var allowed, refused [2]atomic.Int64
	var requests sync.WaitGroup
	start := make(chan struct{})
	for i := range 2 * 10 * limit {
		class := []string{"messages", "list"}[i%2]
		requests.Go(func() {
			<-start
			state, err := l.Take(t.Context(), class, ratelimit.By("alice"))
			switch {
			case err == nil && state.Remaining >= 0 && state.Remaining < limit:
				allowed[i%2].Add(1)
			case apperr.Is(err, apperr.RateLimited) && state.Remaining == 0:
				refused[i%2].Add(1)
			}
		})
	}
	close(start)
	requests.Wait()
	for i := range 2 {
		if allowed[i].Load() != limit || refused[i].Load() != 9*limit {
			t.Errorf("%d requests were allowed and %d refused, want %d and %d", allowed[i].Load(), refused[i].Load(), limit, 9*limit)
		}
	}
}

// inBubble runs fn with synthetic time. The limiter is created outside the bubble because its
// cleanup goroutine never becomes idle.
func inBubble(t *testing.T, limits ratelimit.Limits, fn func(*testing.T, *ratelimit.Limiter)) {
	t.Helper()
	l := ratelimit.New(limits)
	synctest.Test(t, func(t *testing.T) { fn(t, l) })
}

// The window starts with the first request, at any fraction of a second, and lasts a minute.
// Refused requests do not extend it.
func TestWindowLastsAMinuteFromTheFirstRequest(t *testing.T) {
	t.Parallel()
	for _, offset := range []time.Duration{0, time.Nanosecond, 499 * time.Millisecond, 999999999} {
		inBubble(t, ratelimit.Limits{Messages: 2}, func(t *testing.T, l *ratelimit.Limiter) {
			time.Sleep(offset)
			first := time.Now()
			mustTake(t, l, "messages", "alice")
			time.Sleep(20 * time.Second)
			mustTake(t, l, "messages", "alice")
			for time.Since(first) < 59*time.Second {
				state, appErr := mustRefuse(t, l, "messages", "alice")
				rest := time.Minute - time.Since(first)
				if appErr.RetryAfter < rest || appErr.RetryAfter > rest+time.Second || state.Reset != appErr.RetryAfter {
					t.Errorf("after %v: retry after %v", time.Since(first), appErr.RetryAfter)
				}
				time.Sleep(700 * time.Millisecond)
			}
			time.Sleep(time.Minute - time.Since(first))
			mustRefuse(t, l, "messages", "alice")
			time.Sleep(time.Nanosecond)
			if state := mustTake(t, l, "messages", "alice"); state.Remaining != 1 || state.Reset <= 59*time.Second || state.Reset > time.Minute {
				t.Errorf("next window: %+v", state)
			}
			mustTake(t, l, "messages", "alice")
			mustRefuse(t, l, "messages", "alice")
		})
	}
}

// The Retry-After header, which is rounded up to whole seconds, is long enough.
func TestRequestAfterRetryAfterIsAllowed(t *testing.T) {
	t.Parallel()
	for _, offset := range []time.Duration{time.Nanosecond, 250 * time.Millisecond, 999 * time.Millisecond} {
		for _, elapsed := range []time.Duration{time.Nanosecond, time.Second, 30500 * time.Millisecond, 59999 * time.Millisecond} {
			inBubble(t, ratelimit.Limits{Messages: 1}, func(t *testing.T, l *ratelimit.Limiter) {
				time.Sleep(offset)
				mustTake(t, l, "messages", "alice")
				time.Sleep(elapsed)
				_, appErr := mustRefuse(t, l, "messages", "alice")
				after := math.Ceil(appErr.RetryAfter.Seconds())
				if after < 1 || after > 60 {
					t.Errorf("retry after %v seconds, want 1 to 60", after)
				}
				time.Sleep(time.Duration(after) * time.Second)
				mustTake(t, l, "messages", "alice")
			})
		}
	}
}

func TestExpiredWindowIsDropped(t *testing.T) {
	t.Parallel()
	inBubble(t, ratelimit.Limits{Messages: 5}, func(t *testing.T, l *ratelimit.Limiter) {
		mustTake(t, l, "messages", "alice")
		time.Sleep(24 * time.Hour)
		if state, err := l.Peek(t.Context(), "messages", ratelimit.By("alice")); err != nil || state.Remaining != 5 || state.Reset != time.Minute {
			t.Errorf("Peek returned %+v, %v; want a new window", state, err)
		}
		if state := mustTake(t, l, "messages", "alice"); state.Remaining != 4 {
			t.Errorf("Take returned %+v, want 4 remaining", state)
		}
	})
}
