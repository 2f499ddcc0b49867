package ratelimit

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"parley/internal/realtime"
)

// NewShared makes a limiter that counts together with those of other instances, in
// their Redis. While that is away it counts here alone, as New's does; what was counted
// on the other side is not carried over. A nil link is New.
func NewShared(limits map[string]int, link *realtime.Redis) *Limiter {
	l := New(limits)
	l.link = link
	return l
}

// count takes a request where there is room for one; cost 0 only looks. What is refused
// changes nothing, and the window is as old as its first request. It returns whether
// there was room, how many are left, and how many milliseconds of the window, -2
// before it has begun.
var count = redis.NewScript(`
local used, limit, cost = tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[1]), tonumber(ARGV[2])
local room = used < limit
if room and cost > 0 then
  used = redis.call('INCRBY', KEYS[1], cost)
  if used == cost then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
end
return {room and 1 or 0, math.max(limit - used, 0), redis.call('PTTL', KEYS[1])}`)

// countShared counts in Redis; an error is that it is away.
func (l *Limiter) countShared(ctx context.Context, class, caller string, limit int64, cost int) (state State, hasRoom bool, err error) {
	var found []int64
	err = l.link.Do(ctx, func(ctx context.Context, client *redis.Client) (err error) {
		found, err = count.Run(ctx, client, []string{"parley:limit:" + class + ":" + caller}, limit, cost, window.Milliseconds()).Int64Slice()
		return err
	})
	if err != nil {
		return State{}, false, err
	}
	state = State{Class: class, Limit: int(limit), Remaining: int(found[1]), Reset: window}
	if found[2] >= 0 {
		// One more than what is cut off of it, and the next request succeeds.
		state.Reset = min(time.Duration(found[2]+1)*time.Millisecond, window)
	}
	return state, found[0] == 1, nil
}
