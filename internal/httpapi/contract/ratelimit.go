package contract

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/labstack/echo/v4"

	"parley/internal/auth"
	"parley/internal/clientaddr"
	"parley/internal/ratelimit"
)

// limitRate enforces the rate limit of an operation for the caller, an anonymous one by address, and sets the RateLimit
// headers. count is Limiter.Take, or Limiter.Peek for a request that does not count. Echo's error handler adds
// Retry-After to a refusal.
func limitRate(ec echo.Context, op *operation, principal auth.Principal,
	count func(ctx context.Context, class string, caller ratelimit.Caller) (ratelimit.State, error),
) error {
	if op.rateClass == "" {
		return nil
	}
	caller := RateCaller(principal)
	if principal.IsAnonymous() {
		caller = ratelimit.By(clientaddr.Key(ec.Request().RemoteAddr))
	}
	state, err := count(ec.Request().Context(), op.rateClass, caller)
	if state.Limit > 0 {
		header := ec.Response().Header()
		header.Set("RateLimit-Policy", fmt.Sprintf(`"%s";q=%d;w=60`, state.Class, state.Limit))
		header.Set("RateLimit", fmt.Sprintf(`"%s";r=%d;t=%d`, state.Class, state.Remaining, Seconds(state.Reset)))
	}
	return err
}

// Seconds rounds up, so that a retry after that many whole seconds is not too early.
func Seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// RateCaller returns who the requests of a principal are counted for.
func RateCaller(principal auth.Principal) ratelimit.Caller {
	limits := principal.RateLimits
	caller := ratelimit.Caller{Limits: ratelimit.Limits{Messages: limits.Messages, History: limits.History, List: limits.List}}
	caller.ID, caller.Within = principal.RateHolder()
	return caller
}
