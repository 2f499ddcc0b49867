package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
)

const batch = "/api/conversations/batch"

// batch sends a batch of operations, each an action and a conversation ID, and returns the results.
func (c caller) batch(operations ...[2]string) []object {
	c.t.Helper()
	wanted := make([]object, len(operations))
	for i, operation := range operations {
		wanted[i] = object{"action": operation[0], "conversation_id": operation[1]}
	}
	results := objects(c.call(http.MethodPost, batch, object{"operations": wanted}).wantStatus(200), "results")
	if len(results) != len(operations) {
		c.t.Fatalf("%d results for %d operations", len(results), len(operations))
	}
	for i, result := range results {
		if result["action"] != operations[i][0] || result["conversation_id"] != operations[i][1] || (result["ok"] == true) != (result["problem"] == nil) {
			c.t.Errorf("the result of %v is %v", operations[i], result)
		}
	}
	return results
}

// The operations of a batch are applied in order and independently. A failed one has the same
// problem as a single request and does not affect the others.
func TestBatchAppliesOperationsIndependentlyInOrder(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o := s.organization()
	alice, bob, eve := o.as("alice", auth.Chat), o.as("bob", auth.Chat), s.organization().as("eve", auth.Chat)
	a, b, c, bobs, eves := alice.startConversation(), alice.startConversation(), alice.startConversation(), bob.startConversation(), eve.startConversation()
	results := alice.batch(
		[2]string{"archive", a}, [2]string{"delete", bobs}, [2]string{"archive", strings.ToUpper(b)}, [2]string{"delete", eves}, [2]string{"delete", "not an id"},
		[2]string{"delete", c}, [2]string{"archive", c}, [2]string{"unarchive", a}, [2]string{"mark_read", ""}, [2]string{"mark_read", b}, [2]string{"archive", b},
	)
	for i, want := range []string{"", "forbidden", "", "not_found", "not_found", "", "not_found", "", "not_found", "", ""} {
		code := ""
		if problem, ok := results[i]["problem"].(object); ok {
			code = text(problem, "error")
			single := alice.call(http.MethodGet, "/api/conversations/"+bobs+"/", nil).json()
			if code == "not_found" {
				single = alice.call(http.MethodGet, "/api/conversations/"+eves+"/", nil).json()
			}
			delete(single, "request_id")
			delete(problem, "request_id")
			if fmt.Sprint(problem) != fmt.Sprint(single) {
				t.Errorf("the problem is %v, want that of a single request, %v", problem, single)
			}
		}
		if code != want {
			t.Errorf("%d: %v, want %q", i, results[i], want)
		}
	}
	for id, want := range map[string]string{a: "active", b: "archived"} {
		if got := alice.get("/api/conversations/" + id + "/"); got["status"] != want {
			t.Errorf("the status of %s is %v, want %s", id, got["status"], want)
		}
	}
	alice.call(http.MethodGet, "/api/conversations/"+c+"/", nil).wantProblem(404, "not_found", "")
	if bob.get("/api/conversations/" + bobs + "/")["status"] != "active" || eve.get("/api/conversations/" + eves + "/")["status"] != "active" {
		t.Error("the conversations of other users changed")
	}
	// The staff may change the conversations of all users.
	if results := o.as("staff", auth.Agent).batch([2]string{"archive", a}, [2]string{"delete", bobs}); results[0]["ok"] != true || results[1]["ok"] != true {
		t.Errorf("the results of the staff are %v", results)
	}
}

// A batch has 1 to 500 operations, and may contain the same conversation many times.
func TestBatchSizeLimits(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	ids := make([]string, 25)
	for i := range ids {
		ids[i] = alice.startConversation()
	}
	operations := func(n int) []object {
		list := make([]object, n)
		for i := range list {
			list[i] = object{"action": []string{"archive", "unarchive", "mark_read"}[i%3], "conversation_id": ids[i%len(ids)]}
		}
		return list
	}
	for _, n := range []int{1, 500} {
		results := objects(alice.call(http.MethodPost, batch, object{"operations": operations(n)}).wantStatus(200), "results")
		if len(results) != n {
			t.Errorf("%d results, want %d", len(results), n)
		}
		for i, result := range results {
			if result["ok"] != true || result["conversation_id"] != ids[i%len(ids)] {
				t.Fatalf("%d: %v", i, result)
			}
		}
	}
	for _, n := range []int{0, 501} {
		alice.call(http.MethodPost, batch, object{"operations": operations(n)}).wantProblem(400, "invalid_request", "/operations")
	}
	alice.call(http.MethodPost, batch, object{"operations": []object{
		{"action": "delete", "conversation_id": ids[0]}, {"action": "burn", "conversation_id": ids[1]},
	}}).wantProblem(400, "invalid_request", "/operations/1/action")
	alice.get("/api/conversations/" + ids[0] + "/") // the whole batch was rejected
}

// mark_read clears the unread count of the caller's side: the user's for the owner, the staff's for
// an agent.
func TestMarkReadClearsTheUnreadCountOfTheReader(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, staff := o.as("alice", auth.Chat), o.as("staff", auth.Agent)
	id := alice.startConversation()
	unread := func() string {
		shown := objects(alice.get("/api/conversations/"), "results")[0]
		return fmt.Sprintf("%v %v %v %v", objects(alice.get("/api/conversations"), "conversations")[0]["unread"], shown["unreadMessagesCount"],
			shown["inbox"].(object)["unreadConversationsCount"], shown["lastReadAt"] != nil)
	}
	alice.ask(id, question)
	staff.sendMessage(id, "I am a person.")
	if got := unread(); got != "2 1 1 false" {
		t.Fatalf("initially %s", got)
	}
	alice.batch([2]string{"mark_read", id})
	if got := unread(); got != "0 1 1 false" {
		t.Errorf("after mark_read by the owner %s", got)
	}
	alice.ask(id, "Where is the invoice?")
	if got := unread(); got != "1 2 1 false" {
		t.Errorf("after a second question %s", got)
	}
	staff.batch([2]string{"mark_read", id})
	if got := unread(); got != "1 0 0 true" {
		t.Errorf("after mark_read by the staff %s", got)
	}
}

// Archived conversations are still listed, with the status archived, in both families.
func TestArchivedConversationsAreListed(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	kept, archived := alice.startConversation(), alice.startConversation()
	alice.batch([2]string{"archive", archived})
	for status, want := range map[string]string{"archived": archived, "active": kept} {
		list := alice.get("/api/conversations?status=" + status)
		if number(list, "total") != 1 || objects(list, "conversations")[0]["id"] != want || objects(list, "conversations")[0]["status"] != status {
			t.Errorf("%s: %v", status, list)
		}
	}
	statuses := map[any]any{}
	for _, conversation := range objects(alice.get("/api/conversations/"), "results") {
		statuses[conversation["id"]] = conversation["status"]
	}
	if len(statuses) != 2 || statuses[archived] != "archived" || statuses[kept] != "active" {
		t.Errorf("the statuses are %v", statuses)
	}
	// A message reactivates the conversation.
	alice.sendMessage(archived, "Hi")
	if got := number(alice.get("/api/conversations?status=active"), "total"); got != 2 {
		t.Errorf("%d conversations are active, want 2", got)
	}
}
