// Package ratelimit limits requests per minute by class and caller. It counts in fixed windows:
// a caller's first request opens a window of one minute. Refused requests do not extend it.
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

// window is the length of a counting window.
const window = time.Minute

// Limits is the number of requests per minute that each class allows; 0 means unlimited.
type Limits struct {
	Messages int
	History  int
	List     int
	Refusals int // requests without a valid credential, counted per address
}

// Limiter counts requests, in this process or, with Redis, across all instances. It is safe for
// concurrent use.
type Limiter struct {
	redis   *realtime.Redis // nil: count in this process only
	classes map[string]*rateClass
}

// rateClass is a rate limit class. refused counts the requests that this process has refused.
type rateClass struct {
	name    string
	limit   int
	local   *limiter.Limiter
	refused atomic.Int64
}

// State is a caller's current window in a class.
type State struct {
	Class     string
	Limit     int // requests per minute; 0: unlimited
	Remaining int
	Reset     time.Duration // until the window ends; a full window before the first request
}

// New returns a limiter that counts in this process.
func New(limits Limits) *Limiter {
	store := memory.NewStore()
	l := &Limiter{classes: make(map[string]*rateClass)}
	for name, limit := range map[string]int{
		"messages": limits.Messages,
		"history":  limits.History,
		"list":     limits.List,
		"refusals": limits.Refusals,
	} {
		l.classes[name] = &rateClass{name: name, limit: limit, local: limiter.New(store, limiter.Rate{Limit: int64(limit), Period: window})}
	}
	return l
}

// Take counts a request of a caller. Over the limit it returns a RateLimited error along with the
// State. A request made after the error's RetryAfter succeeds.
func (l *Limiter) Take(ctx context.Context, name, caller string) (State, error) {
	state, allowed, err := l.count(ctx, name, caller, 1)
	if err != nil {
		return State{}, fmt.Errorf("count request: %w", err)
	}
	if allowed {
		return state, nil
	}
	l.classes[name].refused.Add(1)
	return state, &apperr.Error{
		Kind:       apperr.RateLimited,
		Message:    fmt.Sprintf("Rate limit exceeded: at most %d requests per minute in the class %s. Retry in %.0f seconds.", state.Limit, name, math.Ceil(state.Reset.Seconds())),
		RetryAfter: state.Reset,
	}
}

// Peek returns the caller's State without counting a request.
func (l *Limiter) Peek(ctx context.Context, name, caller string) (State, error) {
	state, _, err := l.count(ctx, name, caller, 0)
	if err != nil {
		return State{}, fmt.Errorf("read request count: %w", err)
	}
	return state, nil
}

// Refused returns, for each class, a function that reads how many requests this process has
// refused.
func (l *Limiter) Refused() map[string]func() int64 {
	counts := make(map[string]func() int64, len(l.classes))
	for name, class := range l.classes {
		counts[name] = class.refused.Load
	}
	return counts
}

// count adds cost, 0 or 1, to the caller's count if the limit allows another request.
func (l *Limiter) count(ctx context.Context, name, caller string, cost int) (state State, allowed bool, err error) {
	class, ok := l.classes[name]
	if !ok {
		return State{}, false, fmt.Errorf("unknown rate limit class %q", name)
	}
	if class.limit == 0 {
		return State{Class: name}, true, nil
	}
	if l.redis != nil {
		if state, allowed, err = l.countInRedis(ctx, class, caller, cost); err == nil || ctx.Err() != nil {
			return state, allowed, err
		}
	}
	return class.count(ctx, caller, cost)
}

// count counts in this process.
func (c *rateClass) count(ctx context.Context, caller string, cost int) (state State, allowed bool, err error) {
	count := c.local.Get
	if cost == 0 {
		count = c.local.Peek
	}
	counted, err := count(ctx, c.name+":"+caller)
	// counted.Reset is truncated to whole seconds. One second is added so that a request made at
	// that time succeeds.
	reset := time.Until(time.Unix(counted.Reset+1, 0))
	state = State{Class: c.name, Limit: c.limit, Remaining: int(counted.Remaining), Reset: min(max(reset, 0), window)}
	return state, !counted.Reached, err
}
