// Package ratelimit limits requests per minute by class and caller. It counts in fixed windows:
// a caller's first request opens a window of one minute. Refused requests do not extend it.
package ratelimit

import (
	"cmp"
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
	Reads    int // all other requests that read
	Writes   int // all other requests that write
	Reports  int // reads of many rows: lists of records, statistics, and exports
	Refusals int // requests without a valid credential, counted per address
}

// of returns the limit of a class, or 0.
func (l Limits) of(class string) int {
	switch class {
	case "messages":
		return l.Messages
	case "history":
		return l.History
	case "list":
		return l.List
	case "reads":
		return l.Reads
	case "writes":
		return l.Writes
	case "reports":
		return l.Reports
	case "refusals":
		return l.Refusals
	}
	return 0
}

// Caller is the holder of a count of requests.
type Caller struct {
	ID string
	// Limits replace those of the classes where they are not 0.
	Limits Limits
	// Within is a larger group of callers, to which the operator's ceilings apply, or "".
	Within string
}

// By returns a caller with the limits of the classes.
func By(id string) Caller { return Caller{ID: id} }

// Limiter counts requests, in this process or, with Redis, across all instances. It is safe for
// concurrent use.
type Limiter struct {
	// Ceilings limit groups of callers, and are the highest limits that a key can be given; 0 means unlimited. They
	// must not change while requests are counted.
	Ceilings Limits

	redis   *realtime.Redis // nil: count in this process only
	classes map[string]*rateClass
}

// rateClass is a rate limit class. refused counts the requests that this process has refused.
type rateClass struct {
	name    string
	limit   int
	local   limiter.Store
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
	for _, name := range []string{"messages", "history", "list", "reads", "writes", "reports", "refusals"} {
		l.classes[name] = &rateClass{name: name, limit: limits.of(name), local: store}
	}
	return l
}

// Take counts a request of a caller. Over the limit it returns a RateLimited error along with the
// State. A request made after the error's RetryAfter succeeds.
func (l *Limiter) Take(ctx context.Context, name string, caller Caller) (State, error) {
	if ceiling := l.Ceilings.of(name); caller.Within != "" && ceiling > 0 {
		if own, err := l.Peek(ctx, name, caller); err == nil && own.Limit > 0 && own.Remaining == 0 {
			return l.take(ctx, name, caller, caller.Limits.of(name)) // refused without counting for the group
		}
		if state, err := l.take(ctx, name, Caller{ID: caller.Within}, ceiling); err != nil {
			return state, err
		}
	}
	return l.take(ctx, name, caller, caller.Limits.of(name))
}

// take counts a request of one caller. A limit of 0 is that of the class.
func (l *Limiter) take(ctx context.Context, name string, caller Caller, limit int) (State, error) {
	state, allowed, err := l.count(ctx, name, caller.ID, limit, 1)
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
func (l *Limiter) Peek(ctx context.Context, name string, caller Caller) (State, error) {
	state, _, err := l.count(ctx, name, caller.ID, caller.Limits.of(name), 0)
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

// count adds cost, 0 or 1, to the caller's count if the limit allows another request. A limit of 0 is
// that of the class.
func (l *Limiter) count(ctx context.Context, name, caller string, limit, cost int) (state State, allowed bool, err error) {
	class, ok := l.classes[name]
	if !ok {
		return State{}, false, fmt.Errorf("unknown rate limit class %q", name)
	}
	limit = cmp.Or(limit, class.limit)
	if limit == 0 {
		return State{Class: name}, true, nil
	}
	if l.redis != nil {
		if state, allowed, err = l.countInRedis(ctx, name, caller, limit, cost); err == nil || ctx.Err() != nil {
			return state, allowed, err
		}
	}
	return class.count(ctx, caller, limit, cost)
}

// count counts in this process.
func (c *rateClass) count(ctx context.Context, caller string, limit, cost int) (state State, allowed bool, err error) {
	count := c.local.Get
	if cost == 0 {
		count = c.local.Peek
	}
	counted, err := count(ctx, c.name+":"+caller, limiter.Rate{Limit: int64(limit), Period: window})
	// counted.Reset is truncated to whole seconds. One second is added so that a request made at
	// that time succeeds.
	reset := time.Until(time.Unix(counted.Reset+1, 0))
	state = State{Class: c.name, Limit: limit, Remaining: int(counted.Remaining), Reset: min(max(reset, 0), window)}
	return state, !counted.Reached, err
}
