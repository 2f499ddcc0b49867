package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
)

// keyedMessages are the operations that store a message under an Idempotency-Key, with their requests for a
// conversation.
func keyedMessages(id, content string) map[string]func() (string, object) {
	return map[string]func() (string, object){
		"sendMessage": func() (string, object) {
			return "/api/conversations/" + id + "/messages", object{"content": content}
		},
		"createMessage": func() (string, object) {
			return "/api/messages/", object{"conversation": id, "content": content}
		},
	}
}

// A repeat with the same body receives the stored response and stores nothing. With another body it is refused.
func TestIdempotencyKeyStoresAMessageOnce(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat, auth.Agent)
	for name := range keyedMessages("", "") {
		id := alice.startConversation()
		path, body := keyedMessages(id, question)[name]()
		first := alice.call(http.MethodPost, path, body, withHeader("Idempotency-Key", "k"))
		first.wantStatus(201)
		if first.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s: the first response is marked as replayed", name)
		}
		eventually(t, "the message is answered", func() bool { return len(alice.history(id)) == 2 })
		for range 3 {
			again := alice.call(http.MethodPost, path, body, withHeader("Idempotency-Key", "k"))
			again.wantStatus(201)
			if again.header.Get("Idempotency-Replayed") != "true" || string(again.body) != string(first.body) {
				t.Errorf("%s: the repeat is %s %s, the first response %s", name, again.header, again.body, first.body)
			}
		}
		_, other := keyedMessages(id, "something else")[name]()
		alice.call(http.MethodPost, path, other, withHeader("Idempotency-Key", "k")).wantProblem(422, "unprocessable", "")
		// Bodies are compared by their bytes, not by their meaning.
		alice.call(http.MethodPost, path, `{"content":"Hi" , "conversation":"`+id+`"}`, withHeader("Idempotency-Key", "bytes")).wantStatus(201)
		alice.call(http.MethodPost, path, `{"content":"Hi","conversation":"`+id+`"}`, withHeader("Idempotency-Key", "bytes")).wantProblem(422, "unprocessable", "")
		alice.call(http.MethodPost, path, body, withHeader("Idempotency-Key", "K")).wantStatus(201) // another key
		alice.checkAnswered(id, 3)
	}
}

// A key is scoped to its user, its method and its path.
func TestIdempotencyKeysAreScopedToUserAndPath(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, bob := o.as("alice", auth.Chat, auth.Agent), o.as("bob", auth.Chat, auth.Agent)
	id, other := alice.startConversation(), alice.startConversation()
	key := withHeader("Idempotency-Key", "k")
	body := object{"content": "Hi", "conversation": id}
	seen := map[string]bool{}
	for _, made := range []object{
		alice.post("/api/conversations/"+id+"/messages", body, key),
		alice.post("/api/conversations/"+other+"/messages", body, key),
		bob.post("/api/conversations/"+id+"/messages", body, key),
	} {
		seen[text(made, "message_id")] = true
	}
	for _, who := range []caller{alice, bob} {
		seen[text(who.post("/api/messages/", body, key), "id")] = true
	}
	if len(seen) != 5 {
		t.Errorf("there are %d messages, want 5", len(seen))
	}
	// Another API key of the same user shares the user's Idempotency-Keys.
	again := o.as("alice", auth.Chat).call(http.MethodPost, "/api/conversations/"+id+"/messages", body, key)
	if again.wantStatus(201); again.header.Get("Idempotency-Replayed") != "true" {
		t.Error("with another API key of the same user the message is stored again")
	}
	// All aliases of the path share the key.
	again = alice.call(http.MethodPost, "/conversations/"+id+"/messages/", body, key)
	if again.wantStatus(201); again.header.Get("Idempotency-Replayed") != "true" {
		t.Error("on an alias of the path the message is stored again")
	}
}

// Fifty concurrent sends with one key store one message, and receive the same response.
func TestConcurrentSendsWithOneIdempotencyKeyStoreOneMessage(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	for name := range keyedMessages("", "") {
		id := alice.startConversation()
		path, body := keyedMessages(id, question)[name]()
		replayed := 0
		answers := alice.postConcurrently(50, func(int) (string, any) { return path, body }, withHeader("Idempotency-Key", "k"))
		for _, got := range answers {
			got.wantStatus(201)
			if string(got.body) != string(answers[0].body) {
				t.Errorf("%s: %s and %s", name, got.body, answers[0].body)
			}
			if got.header.Get("Idempotency-Replayed") == "true" {
				replayed++
			}
		}
		if replayed != 49 {
			t.Errorf("%s: %d responses are replayed", name, replayed)
		}
		alice.checkAnswered(id, 1)
	}
}

// A refused request leaves its key unused, for every reason of the refusal.
func TestRefusedMessageLeavesItsIdempotencyKeyUnused(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	id := alice.startConversation()
	for name := range keyedMessages("", "") {
		key := withHeader("Idempotency-Key", "of-"+name)
		path, body := keyedMessages(id, question)[name]()
		alice.call(http.MethodPost, path, "{", key).wantProblem(400, "invalid_request", "")
		body["attachments"] = []object{{"id": "unknown"}}
		alice.call(http.MethodPost, path, body, key).wantProblem(400, "invalid_message", "/attachments/0/id")
		delete(body, "attachments")
		_, long := keyedMessages(id, strings.Repeat("x", 100001))[name]()
		alice.call(http.MethodPost, path, long, key).wantProblem(413, "too_large", "")
		bob.call(http.MethodPost, path, body, key).wantProblem(403, "forbidden", "")
		got := alice.call(http.MethodPost, path, body, key)
		if got.wantStatus(201); got.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s: %s", name, got.body)
		}
	}
	alice.checkAnswered(id, 2)
	// A message that was refused because the queue was full leaves its key unused as well.
	release := o.blockReplies()
	for range 21 {
		alice.sendMessage(id, "Hi")
	}
	path, body := keyedMessages(id, "late")["sendMessage"]()
	alice.call(http.MethodPost, path, body, withHeader("Idempotency-Key", "late")).wantProblem(503, "unavailable", "")
	release()
	alice.checkAnswered(id, 23)
	alice.call(http.MethodPost, path, body, withHeader("Idempotency-Key", "late")).wantStatus(201)
	alice.checkAnswered(id, 24)
}
