package conformance

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
)

func limitChecks() []check {
	return []check{
		named("limits/headers", "Responses of a rate-limited operation state the limit and what remains of it.", checkLimitHeaders),
		withScope("admin", "limits/exceeded", "A request over the limit is 429, with Retry-After and the limit.", checkLimitExceeded),
	}
}

var (
	rateLimit       = regexp.MustCompile(`^"(\w+)";r=(\d+);t=(\d+)$`)
	rateLimitPolicy = regexp.MustCompile(`^"(\w+)";q=(\d+);w=60$`)
)

// limitOf returns the client's limit of requests per minute in a class. 0 means unlimited.
func (c client) limitOf(class string) int {
	for _, limit := range c.getJSON("/api/me/").list("rateLimits") {
		if limit.str("class") == class {
			return limit.num("limit")
		}
	}
	c.t.fatalf("/api/me/ has no rate limit for the class %s", class)
	return 0
}

func checkLimitHeaders(t *checker) {
	limit := t.user.limitOf("history")
	if limit == 0 {
		t.skipf("the limit is turned off (PARLEY_RATE_LIMITS)")
	}
	id := t.user.startWithoutBot()
	remaining := limit
	for range 2 {
		got := t.user.get("/api/conversations/" + id + "/history")
		got.expectStatus(http.StatusOK)
		policy, state := rateLimitPolicy.FindStringSubmatch(got.header.Get("RateLimit-Policy")), rateLimit.FindStringSubmatch(got.header.Get("RateLimit"))
		t.require(policy != nil && policy[1] == "history" && policy[2] == fmt.Sprint(limit), "RateLimit-Policy is %q", got.header.Get("RateLimit-Policy"))
		t.require(state != nil && state[1] == "history", "RateLimit is %q", got.header.Get("RateLimit"))
		next, _ := strconv.Atoi(state[2]) // the pattern matches digits
		t.require(next < remaining || next == limit-1, "%d requests remained, and after another one %d", remaining, next)
		remaining = next
	}
}

// checkLimitExceeded exhausts the limit of a user that no other check uses.
func checkLimitExceeded(t *checker) {
	const maxLimit = 200 // larger limits would take too long to exhaust
	limited := client{t, t.limitsKey}
	limit := limited.limitOf("list")
	if limit == 0 || limit > maxLimit {
		t.skipf("the limit is %d per minute (PARLEY_RATE_LIMITS); the check exhausts limits up to %d", limit, maxLimit)
	}
	for range 2*limit + 1 { // the minute may end during the check
		got := limited.get("/api/conversations?limit=1", expectLimit)
		if got.status == http.StatusOK {
			continue
		}
		problem := got.expectProblem("rate_limited")
		wait, err := strconv.Atoi(got.header.Get("Retry-After"))
		t.require(err == nil && wait >= 1 && wait <= 60, "the 429 has Retry-After %q, want 1 to 60", got.header.Get("Retry-After"))
		t.require(problem == nil || problem.num("retry_after") == wait, "Retry-After is %d, the problem's retry_after is %v", wait, problem["retry_after"])
		state := rateLimit.FindStringSubmatch(got.header.Get("RateLimit"))
		t.require(state != nil && state[2] == "0", "the 429 has RateLimit %q, want r=0", got.header.Get("RateLimit"))
		return
	}
	t.fatalf("%d requests in a row succeed with a limit of %d per minute", 2*limit+1, limit)
}
