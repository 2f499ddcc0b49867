package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	// maxAttempts is how many connections in a row may fail without any progress.
	maxAttempts = 6
	// minBackoff and maxBackoff bound the pause between attempts, which doubles each time.
	minBackoff, maxBackoff = 200 * time.Millisecond, 5 * time.Second
	// maxRetryAfter is the longest Retry-After that is waited for. A longer one is returned to the
	// caller.
	maxRetryAfter = 30 * time.Second
)

// backoff counts failed attempts. Its zero value is ready to use.
type backoff struct{ attempts int }

// wait pauses before the next attempt. It returns cause if another attempt is pointless or all of
// them are used up, and the context's error once ctx is done.
func (b *backoff) wait(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var retryAfter time.Duration
	if problem, ok := errors.AsType[*ProblemError](cause); ok {
		retryAfter = problem.retryAfter()
		// A conflict with a Retry-After means that the first request with this Idempotency-Key is
		// still running.
		isRunning := problem.Problem.Status == http.StatusConflict && retryAfter > 0
		if !isTransient(problem.Problem.Status) && !isRunning || retryAfter > maxRetryAfter {
			return cause
		}
	}
	if b.attempts++; b.attempts >= maxAttempts {
		return cause
	}
	pause := min(minBackoff<<(b.attempts-1), maxBackoff)
	pause = max(retryAfter, pause/2+rand.N(pause/2)) // jitter keeps clients from returning all at once
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// reset starts counting again after progress.
func (b *backoff) reset() { b.attempts = 0 }
