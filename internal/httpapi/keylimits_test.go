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

// The name, the expiry and the limits of a key can be changed, up to the operator's ceiling, and take effect
// immediately. Omitted fields are unchanged.
func TestKeysCanBeChanged(t *testing.T) {
	t.Parallel()
	o := serveWith(t, settings{limits: map[string]int{"messages": 2}, ceilings: ratelimit.Limits{Messages: 5}}).organization()
	admin := o.as("backend", auth.Admin)
	created := admin.post("/api/api-keys/", object{"name": "Backend", "scopes": []string{"agent"}, "rateLimits": object{"list": 7}})
	path := "/api/api-keys/" + text(created, "id") + "/"
	backend := caller{organization: o, key: text(created, "key")}
	for _, step := range []struct{ change, want object }{
		{object{"rate_limits": object{"messages": 5}}, object{"rateLimits": object{"messages": 5, "history": nil, "list": 7}}},
		{object{"name": "Line bot", "expires_at": "2999-01-01T00:00:00Z"}, object{"name": "Line bot", "expiresAt": "2999-01-01T00:00:00.000000Z"}},
		{object{"rateLimits": object{"list": nil, "history": 9}}, object{"rateLimits": object{"messages": 5, "history": 9, "list": nil}}},
		{object{"name": nil}, object{}},
		{object{"expiresAt": nil}, object{"expiresAt": nil}},
	} {
		want := admin.keyWithID(text(created, "id"))
		for field, value := range step.want {
			want[field] = value
		}
		got := admin.patch(path, step.change)
		delete(got, "lastUsedAt")
		if !sameJSON(t, got, want) || !sameJSON(t, admin.keyWithID(text(created, "id")), want) {
			t.Errorf("%v made the key %v, want %v", step.change, got, want)
		}
		if got := number(backend.rateLimitStates()["messages"], "limit"); got != 5 {
			t.Errorf("after %v the key has the limit %d, want 5", step.change, got)
		}
	}
	for body, where := range map[string]string{
		`{"rateLimits":{"messages":6}}`:        "/rateLimits/messages",
		`{"rateLimits":{"list":0}}`:            "/rateLimits/list",
		`{"expiresAt":"2001-01-01T00:00:00Z"}`: "/expiresAt",
		`{"expiresAt":"tomorrow"}`:             "/expiresAt",
		`{"name":" "}`:                         "/name",
	} {
		admin.call(http.MethodPatch, path, body).wantProblem(400, "invalid_request", where)
	}
	events := admin.events("action=apiKey.updated")
	if details := events[len(events)-1]["details"].(object); len(events) != 5 || !sameJSON(t, details["rateLimits"], object{"messages": 5, "history": nil, "list": 7}) || details["name"] != "Backend" {
		t.Errorf("the audit events are %v", events)
	}
	backend.call(http.MethodPatch, path, object{"name": "X"}).wantProblem(403, "forbidden", "")
}

// keyWithID returns a key as it is listed.
func (c caller) keyWithID(id string) object {
	c.t.Helper()
	for _, key := range objects(c.get("/api/api-keys/"), "results") {
		if key["id"] == id {
			delete(key, "lastUsedAt")
			return key
		}
	}
	c.t.Fatalf("there is no key %s", id)
	return nil
}

// The last permanent admin key cannot be made to expire, which would lock everybody out.
func TestLastPermanentAdminKeyCannotExpire(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	path := "/api/api-keys/" + text(objects(admin.get("/api/api-keys/"), "results")[0], "id") + "/"
	expiring := object{"expiresAt": "2999-01-01T00:00:00Z"}
	admin.call(http.MethodPatch, path, expiring).wantProblem(409, "conflict", "")
	admin.patch(path, object{"name": "Renamed", "expiresAt": nil})
	admin.post("/api/api-keys/", object{"name": "Second", "scopes": []string{"admin"}})
	admin.patch(path, expiring)
}
