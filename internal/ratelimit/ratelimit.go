// Package ratelimit counts requests: so many a minute for each class and caller, in
// a fixed window that the first request begins. Requests that are refused do not
// lengthen it.
package ratelimit

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/ulule/limiter/v3"
	"github.com/ulule/limiter/v3/drivers/store/memory"

	"parley/internal/apperr"
	"parley/internal/realtime"
)

// window is how long a count lasts.
const window = time.Minute

// Limiter counts requests: in this process, or together with other instances. It is
// safe for concurrent use.
type Limiter struct {
	link    *realtime.Redis             // nil: it counts here
	classes map[string]*limiter.Limiter // nil where there is no limit
	refused map[string]*atomic.Int64    // by class
}

// State is what a caller has left of a class.
type State struct {
	Class     string
	Limit     int // requests a minute; 0: no limit
	Remaining int
	Reset     time.Duration // until the window begins anew; a whole window before the first request
}

// New makes a limiter of the classes, each with its requests per minute, that counts in
// this process; 0 is no limit.
func New(limits map[string]int) *Limiter {
	store := memory.NewStore()
	l := &Limiter{classes: make(map[string]*limiter.Limiter, len(limits)), refused: make(map[string]*atomic.Int64, len(limits))}
	for class, limit := range limits {
		l.refused[class] = new(atomic.Int64)
		l.classes[class] = nil
		if limit > 0 {
			l.classes[class] = limiter.New(store, limiter.Rate{Limit: int64(limit), Period: window})
		}
	}
	return l
}

// Take counts a request of a caller. Over the limit it is the fault RateLimited,
// after whose RetryAfter the next request succeeds; the State is there all the same.
func (l *Limiter) Take(ctx context.Context, class, caller string) (State, error) {
	counted, ok := l.classes[class]
	if !ok {
		return State{}, fmt.Errorf("there is no rate class %q", class)
	}
	if counted == nil {
		return State{Class: class}, nil
	}
	state, hasRoom, err := l.count(ctx, counted, class, caller, 1)
	if err != nil {
		return State{}, fmt.Errorf("count the request: %w", err)
	}
	if !hasRoom {
		l.refused[class].Add(1)
		return state, &apperr.Error{
			Kind:       apperr.RateLimited,
			Message:    fmt.Sprintf("At most %d requests of the class %s a minute; try again in %.0f seconds.", state.Limit, class, math.Ceil(state.Reset.Seconds())),
			RetryAfter: state.Reset,
		}
	}
	return state, nil
}

// Refused returns how many requests of each class this process has refused, as they
// are read then.
func (l *Limiter) Refused() map[string]func() int64 {
	counts := make(map[string]func() int64, len(l.refused))
	for class, refused := range l.refused {
		counts[class] = refused.Load
	}
	return counts
}

// Peek returns what a caller has left without counting anything.
func (l *Limiter) Peek(ctx context.Context, class, caller string) (State, error) {
	counted, ok := l.classes[class]
	if !ok {
		return State{}, fmt.Errorf("there is no rate class %q", class)
	}
	if counted == nil {
		return State{Class: class}, nil
	}
	state, _, err := l.count(ctx, counted, class, caller, 0)
	if err != nil {
		return State{}, fmt.Errorf("look at the count: %w", err)
	}
	return state, nil
}

// count takes a request of cost 1, or only looks.
func (l *Limiter) count(ctx context.Context, counted *limiter.Limiter, class, caller string, cost int) (state State, hasRoom bool, err error) {
	if l.link != nil {
		if state, hasRoom, err = l.countShared(ctx, class, caller, counted.Rate.Limit, cost); err == nil || ctx.Err() != nil {
			return state, hasRoom, err
		}
	}
	key := class + ":" + caller
	var found limiter.Context
	if cost == 0 {
		found, err = counted.Peek(ctx, key)
	} else {
		found, err = counted.Get(ctx, key)
	}
	return stateOf(class, found), !found.Reached, err
}

func stateOf(class string, found limiter.Context) State {
	// Found's Reset is cut to the whole second; one more, and the next request succeeds.
	reset := time.Until(time.Unix(found.Reset+1, 0))
	return State{
		Class:     class,
		Limit:     int(found.Limit),
		Remaining: int(found.Remaining),
		Reset:     min(max(reset, 0), window),
	}
}
