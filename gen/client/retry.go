package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	// maxTries is how often in a row a connection is tried that gives nothing.
	maxTries = 6
	// firstPause and lastPause bound the pause before a try, which doubles.
	firstPause, lastPause = 200 * time.Millisecond, 5 * time.Second
	// longestWait is the longest Retry-After that is waited for. Whoever is told to wait longer is told so.
	longestWait = 30 * time.Second
)

// patience is how often somebody has tried in a row. The zero patience has not.
type patience struct{ tries int }

// again waits before the next try, or returns the error that is to be told: why, when there is no use in trying or it
// was tried often enough, or the end of ctx.
func (p *patience) again(ctx context.Context, why error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var wait time.Duration
	if told, ok := errors.AsType[*ProblemError](why); ok {
		wait = told.retryTime()
		// A first request that is still running is a conflict that passes.
		isPassing := mayPass(told.Problem.Status) || told.Problem.Status == http.StatusConflict && wait > 0
		if !isPassing || wait > longestWait {
			return why
		}
	}
	if p.tries++; p.tries >= maxTries {
		return why
	}
	pause := min(firstPause<<(p.tries-1), lastPause)
	pause = max(wait, pause/2+rand.N(pause/2)) // so that not all come back at once
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// progressed begins to count anew.
func (p *patience) progressed() { p.tries = 0 }
