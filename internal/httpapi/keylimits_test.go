package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"parley/internal/auth"
	"parley/internal/ratelimit"
)

// A key with its own limits is counted separately in the classes that it names. Other keys of its user and the user's
// limit do not affect it.
func TestKeysHaveLimitsOfTheirOwn(t *testing.T) {
	t.Parallel()
	o := serveWith(t, settings{limits: map[string]int{"messages": 2, "list": 2}, ceilings: ratelimit.Limits{Messages: 5}}).organization()
	admin := o.as("backend", auth.Admin)
	created := admin.post("/api/api-keys/", object{"name": "Backend", "user": "backend", "scopes": []string{"chat"}, "rateLimits": object{"messages": 4}})
	limits := object{"messages": 4, "history": nil, "list": nil}
	if !sameJSON(t, created["rateLimits"], limits) {
		t.Errorf("the key has the limits %v", created["rateLimits"])
	}
	backend := caller{organization: o, key: text(created, "key")}
	for _, user := range []caller{backend, admin} {
		limit := 2
		if user.key == backend.key {
			limit = 4
		}
		id := user.startConversation()
		path := "/api/conversations/" + id + "/messages"
		for left := limit - 1; left >= 0; left-- {
			got := user.call(http.MethodPost, path, object{"content": "Hello"})
			if remaining, _ := got.remainingOf("messages", limit); got.status != 201 || remaining != left {
				t.Errorf("%d with %d left, want %d", got.status, remaining, left)
			}
		}
		user.call(http.MethodPost, path, object{"content": "Hello"}).wantRateLimited("messages", limit)
	}
	if state := backend.rateLimitStates()["messages"]; number(state, "limit") != 4 || number(state, "remaining") != 0 {
		t.Errorf("the key's state is %v", state)
	}
	if state := backend.rateLimitStates()["list"]; number(state, "limit") != 2 {
		t.Errorf("the state of the class that the key does not name is %v", state)
	}
	for body, where := range map[string]string{
		`{"name":"X","rateLimits":{"messages":6}}`:   "/rateLimits/messages",
		`{"name":"X","rateLimits":{"history":0}}`:    "/rateLimits/history",
		`{"name":"X","rateLimits":{"list":"many"}}`:  "/rateLimits/list",
		`{"name":"X","rateLimits":{"messages":1e9}}`: "/rateLimits/messages",
	} {
		admin.call(http.MethodPost, "/api/api-keys/", body).wantProblem(400, "invalid_request", where)
	}
	all := objects(admin.get("/api/api-keys/"), "results")
	if all[0]["id"] != created["id"] || !sameJSON(t, all[0]["rateLimits"], limits) {
		t.Errorf("the list begins with %v", all[0])
	}
}

// Visitors with client tokens of one key have their own limits. All of them share the operator's ceiling, and do not
// use up the limit of the key's user.
func TestVisitorsOfAWebsiteAreCountedApart(t *testing.T) {
	t.Parallel()
	o := serveWith(t, settings{limits: map[string]int{"messages": 2}, ceilings: ratelimit.Limits{Messages: 5}}).organization()
	backend := o.as("backend", auth.Chat)
	visitor := func(i int) (send func() answer) {
		id := backend.startConversation()
		token := backend.token(object{"conversation": id})
		return func() answer {
			return backend.call(http.MethodPost, "/api/conversations/"+id+"/messages", object{"content": fmt.Sprint("Visitor ", i)}, bearer(token))
		}
	}
	first, second, third := visitor(1), visitor(2), visitor(3)
	for range 2 {
		first().wantStatus(201)
	}
	first().wantRateLimited("messages", 2)
	for range 2 {
		second().wantStatus(201)
	}
	third().wantStatus(201)
	third().wantRateLimited("messages", 5)
	id := backend.startConversation()
	for range 2 {
		backend.call(http.MethodPost, "/api/conversations/"+id+"/messages", object{"content": "Backend"}).wantStatus(201)
	}
}
