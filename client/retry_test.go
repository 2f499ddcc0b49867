package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func problem(status int, retryAfter ...int) error {
	failure := &ProblemError{Problem: Problem{Status: status}}
	if len(retryAfter) > 0 {
		failure.Problem.RetryAfter = &retryAfter[0]
	}
	return failure
}

func TestBackoffRetriesOnlyWhatCanPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			cause             error
			retried           bool
			shortest, longest time.Duration
		}{
			"broken connection":    {errors.New("reset by peer"), true, 100 * time.Millisecond, 200 * time.Millisecond},
			"bad gateway":          {problem(502), true, 100 * time.Millisecond, 200 * time.Millisecond},
			"unavailable for 30 s": {problem(503, 30), true, 30 * time.Second, 30 * time.Second},
			"unavailable for 31 s": {problem(503, 31), false, 0, 0},
			"still running":        {problem(409, 2), true, 2 * time.Second, 2 * time.Second},
			"conflict":             {problem(409), false, 0, 0},
			"rate limit":           {problem(429, 1), false, 0, 0},
			"not found":            {problem(404), false, 0, 0},
		} {
			start := time.Now()
			err := new(backoff).wait(t.Context(), c.cause)
			if paused := time.Since(start); (err == nil) != c.retried || paused < c.shortest || paused > c.longest {
				t.Errorf("%s: %v after %s", name, err, paused)
			}
		}
	})
}

func TestBackoffGivesUpAfterSixAttemptsWithoutProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b backoff
		cause := errors.New("reset by peer")
		for range 2 {
			for attempt := 1; attempt < maxAttempts; attempt++ {
				if err := b.wait(t.Context(), cause); err != nil {
					t.Fatalf("attempt %d: %v", attempt, err)
				}
			}
			if err := b.wait(t.Context(), cause); !errors.Is(err, cause) {
				t.Errorf("the last attempt returned %v", err)
			}
			b.reset()
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.wait(ctx, cause); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled wait returned %v", err)
		}
	})
}
