package httpapi_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"parley/internal/auth"
)

var rateLimit = regexp.MustCompile(`^"([a-z]+)";r=([0-9]+);t=([0-9]+)$`)

// remainingOf returns how many requests of a class the RateLimit header says remain, and the seconds until the reset.
func (a answer) remainingOf(class string, limit int) (remaining, resetIn int) {
	a.t.Helper()
	found := rateLimit.FindStringSubmatch(a.header.Get("RateLimit"))
	if policy := a.header.Get("RateLimit-Policy"); policy != fmt.Sprintf(`"%s";q=%d;w=60`, class, limit) || found == nil || found[1] != class {
		a.t.Errorf("%s: %d with RateLimit-Policy %q and RateLimit %q", a.request, a.status, policy, a.header.Get("RateLimit"))
		return -1, -1
	}
	remaining, resetIn = must(strconv.Atoi(found[2])), must(strconv.Atoi(found[3]))
	if resetIn < 1 || resetIn > 60 {
		a.t.Errorf("%s: the window resets in %d seconds", a.request, resetIn)
	}
	return remaining, resetIn
}

// wantRateLimited fails the test unless the response is a 429 for the class, with the time to wait.
func (a answer) wantRateLimited(class string, limit int) {
	a.t.Helper()
	if err := a.checkProblem(http.StatusTooManyRequests, "rate_limited", ""); err != nil {
		a.t.Error(err)
		return
	}
	remaining, resetIn := a.remainingOf(class, limit)
	problem := a.json()
	isTold := isOpenAI(strings.TrimPrefix(a.request, "POST ")) || number(problem, "retry_after") == resetIn && problem["retryable"] == true
	if remaining != 0 || a.header.Get("Retry-After") != strconv.Itoa(resetIn) || !isTold {
		a.t.Errorf("%s: Retry-After %q, RateLimit %q, %s", a.request, a.header.Get("Retry-After"), a.header.Get("RateLimit"), a.body)
	}
}

// rateLimitStates returns the caller's rate limits by class, as getMe reports them.
func (c caller) rateLimitStates() map[string]object {
	c.t.Helper()
	all := map[string]object{}
	for _, state := range objects(c.get("/api/me/"), "rateLimits") {
		all[text(state, "class")] = state
	}
	return all
}

// Each operation of a class is accepted as often as its limit permits, reports what remains, and is then refused.
// Other users and classes are not affected.
func TestRequestsOverTheLimitAnswer429WithRetryAfter(t *testing.T) {
	t.Parallel()
	classes := map[string]int{"messages": 2, "history": 3, "list": 2}
	o := serveWith(t, settings{limits: classes}).organization()
	resources := o.as("owner", auth.Chat).createResources()
	met := map[string]int{}
	for _, op := range operations {
		limit := classes[op.rateClass]
		if limit == 0 {
			continue
		}
		met[op.rateClass]++
		me := o.as("user of "+op.id, auth.Chat, auth.Agent)
		send := func(c caller) answer { return op.send(c, op.target(resources, ""), op.validBody(resources)) }
		for left := limit - 1; left >= 0; left-- {
			got := send(me)
			if remaining, _ := got.remainingOf(op.rateClass, limit); got.status >= 300 || remaining != left {
				t.Errorf("%s: %d, %d left, want %d: %s", op.id, got.status, remaining, left, got.body)
			}
		}
		send(me).wantRateLimited(op.rateClass, limit)
		send(me).wantRateLimited(op.rateClass, limit)
		for class, state := range me.rateLimitStates() {
			want := classes[class]
			if want == 0 {
				continue
			}
			if class == op.rateClass {
				want = 0
			}
			if number(state, "limit") != classes[class] || number(state, "remaining") != want || number(state, "resetIn") < 1 || number(state, "resetIn") > 60 {
				t.Errorf("after %s, getMe returns %v", op.id, state)
			}
		}
		if got := send(o.as("another for "+op.id, auth.Chat, auth.Agent)); got.status >= 300 {
			t.Errorf("%s of another user: %d", op.id, got.status)
		}
	}
	if met["messages"] != 8 || met["history"] != 2 || met["list"] != 3 {
		t.Errorf("operations by class: %v", met)
	}
}

// Operations without a class of their own count as reads or writes, and those that read many rows as reports.
func TestReadsWritesAndReportsAreLimited(t *testing.T) {
	t.Parallel()
	limits := map[string]int{"reads": 2, "writes": 2, "reports": 2}
	o := serveWith(t, settings{limits: limits}).organization()
	for class, paths := range map[string][]string{
		"reads":   {"GET /api/me/", "GET /api/chatbots/", "GET /v1/models"},
		"writes":  {"POST /api/ws-tickets/", "POST /api/ws-tickets/", "POST /api/client-tokens/"},
		"reports": {"GET /api/chatbots/parley/records/", "GET /api/chatbots/parley/statistics/?startDate=2026-01-01&endDate=2026-01-02", "GET /api/chatbots/parley/records/export/?startDate=2026-01-01&endDate=2026-01-02"},
	} {
		me := o.as("user of "+class, auth.Admin)
		for i, path := range paths {
			method, path, _ := strings.Cut(path, " ")
			var body any
			if method == http.MethodPost {
				body = object{}
			}
			got := me.call(method, path, body)
			if i == limits[class] {
				if remaining, _ := got.remainingOf(class, limits[class]); got.status != http.StatusTooManyRequests || remaining != 0 {
					t.Errorf("%s: %d, %d left", got.request, got.status, remaining)
				}
			} else if remaining, _ := got.remainingOf(class, limits[class]); got.status == http.StatusTooManyRequests || remaining != limits[class]-1-i {
				t.Errorf("%s: %d, %d left", got.request, got.status, remaining)
			}
		}
	}
}

// A class counts both API families and all keys of a user. A start without a first message is not counted.
func TestOperationsOfAClassShareALimit(t *testing.T) {
	t.Parallel()
	o := serveWith(t, settings{limits: map[string]int{"messages": 4, "history": 2, "list": 2}}).organization()
	alice := o.as("alice", auth.Chat)
	id := ""
	for range 6 {
		got := alice.call(http.MethodPost, "/api/conversations/start", object{"initial_message": ""})
		id = text(got.wantStatus(201), "conversation_id")
		if remaining, resetIn := got.remainingOf("messages", 4); remaining != 4 || resetIn != 60 {
			t.Errorf("after a start without a message, %d remain for %d seconds", remaining, resetIn)
		}
	}
	messages := []func(caller) answer{
		func(c caller) answer {
			return c.call(http.MethodPost, "/api/conversations/start", object{"initial_message": "Hi"})
		},
		func(c caller) answer {
			return c.call(http.MethodPost, "/api/conversations/"+id+"/messages", object{"content": "Hi"})
		},
		func(c caller) answer {
			return c.call(http.MethodPost, "/api/messages/", object{"conversation": id, "content": "Hi"})
		},
		func(c caller) answer {
			return c.call(http.MethodPost, completions, object{"message": object{"content": "Hi"}, "isStreaming": true})
		},
	}
	for i, send := range messages {
		got := send(alice)
		if remaining, _ := got.remainingOf("messages", 4); got.status >= 300 || remaining != 3-i {
			t.Errorf("%s: %d, %d left", got.request, got.status, remaining)
		}
	}
	for _, send := range messages {
		send(alice).wantRateLimited("messages", 4)
		send(o.as("alice", auth.Chat, auth.Agent)).wantRateLimited("messages", 4)
	}
	got := alice.call(http.MethodPost, "/api/conversations/start", object{})
	got.wantStatus(201)
	if remaining, _ := got.remainingOf("messages", 4); remaining != 0 {
		t.Errorf("%d are left", remaining)
	}
	for class, paths := range map[string][2]string{
		"history": {"/api/conversations/" + id + "/history", "/api/messages/"},
		"list":    {"/api/conversations", "/api/conversations/"},
	} {
		for _, path := range paths {
			alice.get(path)
		}
		for _, path := range paths {
			alice.call(http.MethodGet, path, nil).wantRateLimited(class, 2)
		}
	}
}

// Every response of a limited operation, errors included, reports what remains. Unauthorized requests and operations
// without a class have no RateLimit header.
func TestLimitedOperationsAlwaysReportTheRemainingRequests(t *testing.T) {
	t.Parallel()
	o := serveWith(t, settings{limits: map[string]int{"messages": 10, "list": 10, "history": 10}}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	bobs := o.as("bob", auth.Chat).startConversation()
	left := 10
	for _, c := range []struct {
		status int
		path   string
		body   any
		kind   string
	}{
		{201, "/api/conversations/" + id + "/messages", object{"content": "Hi"}, "application/json"},
		{400, "/api/conversations/" + id + "/messages", object{"content": " "}, "application/json"},
		{400, "/api/conversations/" + id + "/messages", object{"content": "a\x00b"}, "application/json"},
		{400, "/api/messages/", "{", "application/json"},
		{404, "/api/conversations/x/messages", object{"content": "Hi"}, "application/json"},
		{404, "/api/chatbots/nobody/completions/", object{"message": object{"content": "Hi"}}, "application/json"},
		{403, "/api/conversations/" + bobs + "/messages", object{"content": "Hi"}, "application/json"},
		{415, "/api/messages/", object{"conversation": id}, "text/plain"},
	} {
		got := alice.call(http.MethodPost, c.path, c.body, withHeader("Content-Type", c.kind))
		left--
		if remaining, _ := got.remainingOf("messages", 10); got.status != c.status || remaining != left {
			t.Errorf("%s: %d, want %d; %d left, want %d", got.request, got.status, c.status, remaining, left)
		}
	}
	for _, path := range []string{"/api/conversations?limit=0", "/api/conversations/?cursor=x", "/api/conversations/?inbox=x"} {
		if got := alice.call(http.MethodGet, path, nil); got.status != 400 && got.status != 404 || got.header.Get("RateLimit") == "" {
			t.Errorf("%s: %d with %v", path, got.status, got.header)
		}
	}
	for name, got := range map[string]answer{
		"no key":        o.call(http.MethodGet, "/api/conversations", nil),
		"without scope": o.as("records", auth.RecordsRead).call(http.MethodGet, "/api/conversations", nil),
		"no class":      alice.call(http.MethodGet, "/problems/not_found", nil),
		"no limit":      serveWith(t, settings{limits: map[string]int{"list": 0}}).organization().as("alice", auth.Chat).call(http.MethodGet, "/api/conversations", nil),
	} {
		if got.header.Get("RateLimit") != "" || got.header.Get("RateLimit-Policy") != "" {
			t.Errorf("%s: %v", name, got.header)
		}
	}
}

// Requests with invalid keys are limited on every operation, by the address of the connection, not by headers.
// Callers with a valid key are not affected.
func TestKeyGuessesAreRateLimitedByAddress(t *testing.T) {
	t.Parallel()
	o := serveWith(t, settings{limits: map[string]int{"refusals": 5}}).organization()
	alice := o.as("alice", auth.Admin)
	resources := alice.createResources()
	guess := func(op operation, options ...option) answer {
		return op.send(caller{organization: o, key: "pk_0000000000.guess"}, op.target(resources, ""), op.validBody(resources), options...)
	}
	for i := range 5 {
		if err := guess(operations[i%2*5]).checkProblem(401, "unauthorized", ""); err != nil {
			t.Error(err)
		}
	}
	for _, op := range operations {
		if !op.isSecured {
			continue
		}
		got := guess(op, withHeader("X-Forwarded-For", "203.0.113.7"), withHeader("X-Real-Ip", "203.0.113.7"))
		if err := got.checkProblem(429, "rate_limited", ""); err != nil {
			t.Errorf("%s: %v", op.id, err)
			continue
		}
		if after, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || after < 1 || after > 60 {
			t.Errorf("%s: Retry-After is %q seconds", op.id, got.header.Get("Retry-After"))
		}
	}
	o.call(http.MethodGet, "/api/me/", nil).wantProblem(429, "rate_limited", "")
	alice.get("/api/me/")
	o.call(http.MethodGet, "/healthz", nil).wantStatus(200)
}
