package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

// aliases returns the alternative paths of an operation: with or without the trailing slash, unless
// both paths have the method; below /api/v1; and without /api in the Conversations family.
func (op operation) aliases(path string) []string {
	all := []string{path}
	bare, isSlashed := strings.CutSuffix(path, "/")
	sibling := strings.TrimSuffix(op.path, "/")
	if !isSlashed {
		bare += "/"
		sibling += "/"
	}
	if item := document.Paths.Value(sibling); item == nil || item.GetOperation(op.method) == nil {
		all = append(all, bare)
	}
	for _, known := range slices.Clone(all) {
		if rest, ok := strings.CutPrefix(known, "/api/"); ok {
			all = append(all, "/api/v1/"+rest)
			if strings.HasPrefix(rest, "conversations") {
				all = append(all, "/"+rest)
			}
		}
	}
	return all[1:]
}

// Every alias of a path reaches its operation directly. A redirect would lose the body of a POST.
func TestPathAliasesReachTheSameOperation(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	var resources resourceIDs
	tried := 0
	for _, op := range operations {
		// shape distinguishes the responses of different operations.
		shape := func(got answer) string {
			if kind := got.header.Get("Content-Type"); kind != "application/json" {
				return kind
			}
			return strings.Join(slices.Sorted(maps.Keys(got.json())), " ")
		}
		send := func(rewrite func(path string) string) answer {
			if resources == nil {
				resources = admin.createResources()
			}
			path, query, _ := strings.Cut(op.target(resources, ""), "?")
			got := op.send(admin, rewrite(path)+"?"+query, op.validBody(resources), withHeader("X-Request-Id", "same"))
			if op.deletes() {
				resources = nil
			}
			return got
		}
		want := send(func(path string) string { return path })
		if want.status >= 300 {
			t.Errorf("%s: %d %s", op.id, want.status, want.body)
		}
		for i := range op.aliases(op.path) {
			got := send(func(path string) string { return op.aliases(path)[i] })
			tried++
			if got.status != want.status || shape(got) != shape(want) {
				t.Errorf("%s as %s: %d %s, want %d %s", op.id, got.request, got.status, got.body, want.status, want.body)
			}
			isSteady := op.method == http.MethodGet && op.id != "exportRecords" && op.id != "getMe" && op.id != "connect"
			// Links to other pages keep the prefix that was called.
			if body := strings.ReplaceAll(string(got.body), "/api/v1/", "/api/"); isSteady && body != strings.ReplaceAll(string(want.body), "/api/v1/", "/api/") {
				t.Errorf("%s as %s: %s, want %s", op.id, got.request, got.body, want.body)
			}
		}
	}
	if tried < 150 {
		t.Errorf("%d aliases were tested, want at least 150", tried)
	}
}

// The body of a POST arrives through every alias of its path.
func TestEveryAliasReceivesTheRequestBody(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	for _, path := range []string{
		"/conversations/start", "/conversations/start/", "/api/conversations/start", "/api/conversations/start/", "/api/v1/conversations/start", "/api/v1/conversations/start/",
	} {
		started := alice.post(path, object{"initial_message": "to " + path})
		if got := alice.history(text(started, "conversation_id"))[0]["content"]; got != "to "+path {
			t.Errorf("%s: the stored content is %v", path, got)
		}
	}
	id := alice.startUnanswered()
	for _, path := range []string{
		"/conversations/" + id + "/messages", "/conversations/" + id + "/messages/", "/api/v1/conversations/" + id + "/messages", "/api/messages", "/api/v1/messages", "/api/v1/messages/",
	} {
		alice.post(path, object{"conversation": id, "content": "to " + path})
		history := alice.history(id)
		if got := history[len(history)-1]["content"]; got != "to "+path {
			t.Errorf("%s: the stored content is %v", path, got)
		}
	}
	for _, path := range []string{"/conversations/batch", "/conversations/batch/", "/api/v1/conversations/batch"} {
		results := objects(alice.call(http.MethodPost, path, object{"operations": []object{{"action": "archive", "conversation_id": id}}}).wantStatus(200), "results")
		if results[0]["ok"] != true {
			t.Errorf("%s: the results are %v", path, results)
		}
	}
	// The query string is preserved, and links lead to pages of the same list.
	page := alice.get("/api/v1/conversations/?pageSize=2&ordering=createdAt")
	if next := alice.get(text(page, "next")); len(objects(page, "results")) != 2 || len(objects(next, "results")) != 2 || !strings.Contains(text(page, "next"), "/api/v1/conversations/?") {
		t.Errorf("the first page is %v", page)
	}
}

// The trailing slash selects one of the two lists of conversations, below every prefix.
func TestTrailingSlashSelectsTheConversationList(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	for _, prefix := range []string{"", "/api", "/api/v1"} {
		plain, slashed := alice.get(prefix+"/conversations"), alice.get(prefix+"/conversations/")
		if number(plain, "total") != 1 || objects(plain, "conversations")[0]["id"] != id || plain["results"] != nil {
			t.Errorf("%s/conversations: %v", prefix, plain)
		}
		if objects(slashed, "results")[0]["id"] != id || slashed["total"] != nil {
			t.Errorf("%s/conversations/: %v", prefix, slashed)
		}
		// Only one of the two paths has POST, so both accept it.
		for _, slash := range []string{"", "/"} {
			made := o.as("bob", auth.Chat).post(prefix+"/conversations"+slash, object{"webChat": o.webChat.ID})
			if made["inbox"] == nil {
				t.Errorf("POST %s/conversations%s: %v", prefix, slash, made)
			}
		}
	}
}

// Allow lists the methods of the path with and without the trailing slash, on every alias.
func TestAllowListsTheMethodsOfBothPaths(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	for path, want := range map[string]string{
		"/conversations": "GET, HEAD, POST", "/conversations/" + id: "DELETE, GET, HEAD, PATCH, PUT", "/conversations/start": "POST", "/conversations/batch": "POST",
		"/conversations/" + id + "/messages": "POST", "/conversations/" + id + "/history": "GET, HEAD",
	} {
		for _, prefix := range []string{"", "/api", "/api/v1"} {
			for _, slash := range []string{"", "/"} {
				for _, method := range []string{http.MethodTrace, "PURGE"} {
					got := alice.call(method, prefix+path+slash, nil)
					if err := got.checkProblem(405, "method_not_allowed", ""); err != nil || got.header.Get("Allow") != want {
						t.Errorf("%s: Allow is %q, want %q; %v", got.request, got.header.Get("Allow"), want, err)
					}
				}
			}
		}
	}
}

// Literal path segments take precedence over IDs on every alias: a conversation ID cannot be
// "start", nor an FAQ ID "import".
func TestLiteralSegmentsTakePrecedenceOverIDs(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	for _, path := range []string{"/conversations/start", "/conversations/batch", "/chatbots/parley/faqs/import"} {
		for _, prefix := range []string{"", "/api", "/api/v1"} {
			for _, slash := range []string{"", "/"} {
				if prefix == "" && strings.HasPrefix(path, "/chatbots") {
					continue // /chatbots requires the prefix /api
				}
				for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
					got := admin.call(method, prefix+path+slash, nil)
					if err := got.checkProblem(405, "method_not_allowed", ""); err != nil || got.header.Get("Allow") != "POST" {
						t.Errorf("%s: Allow is %q; %v", got.request, got.header.Get("Allow"), err)
					}
				}
			}
		}
	}
	// Paths below an ID do not exist below a literal segment.
	admin.call(http.MethodGet, "/api/conversations/start/history", nil).wantProblem(404, "not_found", "")
	admin.call(http.MethodPost, "/conversations/batch/messages", object{"content": "Hi"}).wantProblem(404, "not_found", "")
	// Only the Conversations family is available without /api.
	for _, path := range []string{"/messages/", "/chatbots/", "/me/", "/v1/me/", "/v1/conversations", "/api/v1/healthz", "/api/v1/api/me/", "/api/v1/v1/me/", "/api/v1/", "/api/conversations/v1"} {
		if err := admin.call(http.MethodGet, path, nil).checkProblem(404, "not_found", ""); err != nil {
			t.Error(err)
		}
	}
}
