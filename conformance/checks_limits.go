package conformance

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
)

func limitChecks() []check {
	return []check{
		{name: "limits/headers", holds: "Answers of a limited operation say what the limit is and what is left of it.", ask: limitsAreTold},
		{name: "limits/refusal", holds: "Who is over a limit gets 429, with Retry-After and what the limit is.", needs: "admin", ask: limitIsKept},
	}
}

var (
	rateLimit       = regexp.MustCompile(`^"(\w+)";r=(\d+);t=(\d+)$`)
	rateLimitPolicy = regexp.MustCompile(`^"(\w+)";q=(\d+);w=60$`)
)

// limitOf is how many requests of a class a user has per minute, 0 for any number.
func (c caller) limitOf(class string) int {
	for _, one := range c.get("/api/me/").gives(http.StatusOK).list("rateLimits") {
		if one.str("class") == class {
			return one.num("limit")
		}
	}
	c.t.fail("/api/me/ tells of no limit of the class %s", class)
	return 0
}

func limitsAreTold(t *trial) {
	user := t.user()
	limit := user.limitOf("history")
	if limit == 0 {
		t.skip("the operator has turned the limit off (PARLEY_RATE_LIMITS)")
	}
	id := user.quiet()
	left := limit
	for range 2 {
		got := user.get("/api/conversations/" + id + "/history")
		got.has(http.StatusOK)
		policy, state := rateLimitPolicy.FindStringSubmatch(got.header.Get("RateLimit-Policy")), rateLimit.FindStringSubmatch(got.header.Get("RateLimit"))
		t.must(policy != nil && policy[1] == "history" && policy[2] == fmt.Sprint(limit), "RateLimit-Policy is %q", got.header.Get("RateLimit-Policy"))
		t.must(state != nil && state[1] == "history", "RateLimit is %q", got.header.Get("RateLimit"))
		remaining, _ := strconv.Atoi(state[2]) // its digits have been found
		t.must(remaining < left || remaining == limit-1, "of %d requests %d are left after another one", left, remaining)
		left = remaining
	}
}

// limitIsKept uses up the limit of a user who does nothing else.
func limitIsKept(t *trial) {
	const most = 200 // a limit above that is left alone
	limited := caller{t, t.limitsKey}
	limit := limited.limitOf("list")
	if limit == 0 || limit > most {
		t.skip("the operator has set the limit to %d a minute (PARLEY_RATE_LIMITS); the check uses up one of %d at the most", limit, most)
	}
	for range 2*limit + 1 { // in whichever of its requests a minute ends and the next begins
		got := limited.get("/api/conversations?limit=1", takingLimit)
		if got.status == http.StatusOK {
			continue
		}
		problem := got.refused(http.StatusTooManyRequests, "rate_limited")
		wait, err := strconv.Atoi(got.header.Get("Retry-After"))
		t.must(err == nil && wait >= 1 && wait <= 60, "a 429 has the Retry-After %q", got.header.Get("Retry-After"))
		t.must(problem == nil || problem.num("retry_after") == wait, "Retry-After is %d, the problem's retry_after %v", wait, problem["retry_after"])
		state := rateLimit.FindStringSubmatch(got.header.Get("RateLimit"))
		t.must(state != nil && state[2] == "0", "the RateLimit of a 429 is %q", got.header.Get("RateLimit"))
		return
	}
	t.fail("%d requests one after the other are answered, where the limit is %d in a minute", 2*limit+1, limit)
}
