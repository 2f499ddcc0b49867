package wsapi_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"parley/internal/auth"
)

// left reads what a RateLimit header says: of which class how much remains, until when.
func left(t *testing.T, got answer) (class string, remaining, reset int) {
	t.Helper()
	name, rest, _ := strings.Cut(got.header.Get("RateLimit"), ";")
	if _, err := fmt.Sscanf(rest, "r=%d;t=%d", &remaining, &reset); err != nil {
		t.Fatalf("%s: RateLimit is %q", got.request, got.header.Get("RateLimit"))
	}
	return strings.Trim(name, `"`), remaining, reset
}

// However a minute's 60 messages are spread, the 61st is refused, everywhere; other
// users are not concerned.
func TestThe61stMessageOfAMinuteIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{limits: map[string]int{"messages": 60}}).organization()
	alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	ways := map[string]func() answer{
		"startConversation": func() answer {
			return alice.call("POST", "/api/conversations/start", object{"initial_message": "Hi"})
		},
		"createCompletion": func() answer {
			return alice.call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": "Hi"}})
		},
		"createCompletion, streamed": func() answer {
			return alice.call("POST", "/api/chatbots/parley/completions/", object{"isStreaming": true, "message": object{"content": "Hi"}})
		},
	}
	first := ways["startConversation"]()
	id := first.gives(201)["conversation_id"].(string)
	if class, remaining, reset := left(t, first); class != "messages" || remaining != 59 || reset != 60 {
		t.Errorf("after the first: %s", first.header.Get("RateLimit"))
	}
	alice.call("PATCH", "/api/conversations/"+id+"/", object{"autoReplyEnabled": false}).gives(200)
	ways["sendMessage"] = func() answer {
		return alice.call("POST", "/api/conversations/"+id+"/messages", object{"content": "Hi"})
	}
	ways["createMessage"] = func() answer {
		return alice.call("POST", "/api/messages/", object{"conversation": id, "content": "Hi"})
	}
	sockets := []*link{alice.watch(id), alice.watch(id)}
	for used := 1; used < 60; {
		for name, way := range ways {
			if used == 60 {
				break
			}
			used++
			got := way()
			if class, remaining, reset := left(t, got); got.status >= 300 || class != "messages" || remaining != 60-used || reset < 1 || reset > 60 ||
				got.header.Get("RateLimit-Policy") != `"messages";q=60;w=60` {
				t.Fatalf("message %d, by %s: %d %v", used, name, got.status, got.header)
			}
		}
		for _, l := range sockets {
			if used < 60 {
				used++
				l.delivers("Hi")
			}
		}
		// A conversation without a message is none.
		alice.call("POST", "/api/conversations/start", object{}).gives(201)
		alice.call("POST", "/api/conversations/start", object{"initial_message": ""})
	}
	for name, way := range ways {
		got := way()
		problem := got.refused(429, "rate_limited")
		after, err := strconv.Atoi(got.header.Get("Retry-After"))
		if err != nil || after < 1 || after > 60 || problem["retry_after"] != float64(after) || problem["retryable"] != true {
			t.Errorf("%s: Retry-After %q, %v", name, got.header.Get("Retry-After"), problem)
		}
		if _, remaining, reset := left(t, got); remaining != 0 || reset > after {
			t.Errorf("%s: %s, Retry-After %d", name, got.header.Get("RateLimit"), after)
		}
	}
	for _, l := range append(sockets, alice.dial("")) {
		l.say("Hi", "client_message_id", "c-1")
		if got := l.refuses("rate_limited"); got.RetryAfter < 1 || got.RetryAfter > 60 || got.ClientMessageID != "c-1" {
			t.Errorf("%+v", got)
		}
	}
	alice.call("POST", "/api/conversations/start", object{}).gives(201)
	bob.dial("").delivers("Hi")
	o.visitor().dial("").delivers("Hi")
	bob.call("POST", "/api/conversations/start", object{"initial_message": "Hi"}).gives(201)
	alice.watch(id).send("{") // no message, so not counted
}

// A user has one count, whichever key or device is used.
func TestAUsersKeysAreCountedTogether(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{limits: map[string]int{"messages": 2}}).organization()
	first := o.as("alice", auth.Chat).dial("")
	first.delivers("One")
	second := o.as("alice", auth.Chat).dial("")
	second.delivers("Two")
	first.say("Three")
	first.refuses("rate_limited")
}

// Visitors of one address are counted together, apart from those with a key.
func TestVisitorsHaveALimitOfTheirOwn(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{limits: map[string]int{"messages": 3}}).organization()
	alice := o.as("alice", auth.Chat).dial("")
	first, second := o.visitor().dial(""), o.visitor().dial("")
	first.delivers("One")
	second.delivers("Two")
	first.delivers("Three")
	for _, l := range []*link{first, second, o.visitor().dial("")} {
		l.say("Four", "client_message_id", "c-4")
		if got := l.refuses("rate_limited"); got.RetryAfter < 1 || got.RetryAfter > 60 || got.ClientMessageID != "c-4" {
			t.Errorf("%+v", got)
		}
	}
	for range 3 {
		alice.delivers("Hi")
	}
	elsewhere, err := o.visitor().dialWith("", &websocket.DialOptions{HTTPHeader: http.Header{fromAddress: {"192.0.2.1"}}})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.delivers("Hi")
	alice.say("Hi")
	alice.refuses("rate_limited")
}

// The classes of the other operations are counted each on its own.
func TestHistoryAndListsHaveTheirOwnClasses(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{limits: map[string]int{"messages": 1, "history": 4, "list": 2}}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.start()
	for range 2 {
		alice.call("GET", "/api/conversations/"+id+"/history", nil).gives(200)
		alice.call("GET", "/api/messages/", nil).gives(200)
	}
	alice.call("GET", "/api/conversations", nil).gives(200)
	if class, remaining, _ := left(t, alice.call("GET", "/api/conversations/", nil)); class != "list" || remaining != 0 {
		t.Errorf("%s %d", class, remaining)
	}
	for _, path := range []string{"/api/conversations/" + id + "/history", "/api/messages/", "/api/conversations", "/api/conversations/"} {
		alice.call("GET", path, nil).refused(429, "rate_limited")
	}
	alice.say(id, "Hi")
	alice.call("GET", "/api/conversations/"+id+"/", nil).gives(200)
}
