package ratelimit

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"parley/internal/realtime"
)

// NewShared returns a limiter that counts together with all instances on the same Redis. While
// Redis is unavailable it counts in this process, as New does. The two counts are independent:
// neither is carried over to the other. With a nil r it is equivalent to New.
func NewShared(limits Limits, r *realtime.Redis) *Limiter {
	l := New(limits)
	l.redis = r
	return l
}

// countScript adds ARGV[2] to the caller's count if it is below the limit. Neither a refused
// request nor a cost of 0 changes anything, and the window starts with its first request. It
// returns whether the limit allows the request, how many requests remain, and the remaining
// milliseconds of the window (-2 when there is no window).
var countScript = redis.NewScript(`
local used, limit, cost = tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[1]), tonumber(ARGV[2])
local allowed = used < limit
if allowed and cost > 0 then
  used = redis.call('INCRBY', KEYS[1], cost)
  if used == cost then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
end
return {allowed and 1 or 0, math.max(limit - used, 0), redis.call('PTTL', KEYS[1])}`)

// countInRedis counts in Redis. It fails when Redis is unavailable.
func (l *Limiter) countInRedis(ctx context.Context, class, caller string, limit, cost int) (state State, allowed bool, err error) {
	var counted []int64
	err = l.redis.Do(ctx, func(ctx context.Context, client *redis.Client) (err error) {
		counted, err = countScript.Run(ctx, client, []string{"parley:limit:" + class + ":" + caller}, limit, cost, window.Milliseconds()).Int64Slice()
		return err
	})
	if err != nil {
		return State{}, false, err
	}
	state = State{Class: class, Limit: limit, Remaining: int(counted[1]), Reset: window}
	if counted[2] >= 0 {
		// PTTL is truncated to whole milliseconds. One is added so that a request made then
		// succeeds.
		state.Reset = min(time.Duration(counted[2]+1)*time.Millisecond, window)
	}
	return state, counted[0] == 1, nil
}
