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

// rateLimitOf parses the RateLimit header: the class, how many requests remain, and the seconds until it resets.
func rateLimitOf(t *testing.T, got response) (class string, remaining, reset int) {
	t.Helper()
	name, rest, _ := strings.Cut(got.header.Get("RateLimit"), ";")
	if _, err := fmt.Sscanf(rest, "r=%d;t=%d", &remaining, &reset); err != nil {
		t.Fatalf("%s: RateLimit is %q", got.request, got.header.Get("RateLimit"))
	}
	return strings.Trim(name, `"`), remaining, reset
}

// The 61st message of a user within a minute is refused, whichever endpoints it and the others use. Other users are not
// affected.
func TestMessageRateLimitAppliesToAllEndpoints(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{limits: map[string]int{"messages": 60}}).organization()
	alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	id := alice.startWithoutReplies()
	endpoints := messageEndpoints(alice, id)
	sockets := []*wsClient{alice.watch(id), alice.watch(id)}

	// given: 60 messages over all endpoints and sockets
	for used := 0; used < 60; {
		for name, send := range endpoints {
			if used == 60 {
				break
			}
			used++
			got := send()
			if class, remaining, reset := rateLimitOf(t, got); got.status >= 300 || class != "messages" || remaining != 60-used || reset < 1 || reset > 60 ||
				used == 1 && reset != 60 || got.header.Get("RateLimit-Policy") != `"messages";q=60;w=60` {
				t.Fatalf("message %d, by %s: %d %v", used, name, got.status, got.header)
			}
		}
		for _, ws := range sockets {
			if used < 60 {
				used++
				ws.deliver("Hi")
			}
		}
		// Conversations that start without a message do not count.
		alice.call("POST", "/api/conversations/start", object{}).expect(201)
		alice.call("POST", "/api/conversations/start", object{"initial_message": ""})
	}

	// then: the next message is refused everywhere
	for name, send := range endpoints {
		expectRateLimited(t, name, send())
	}
	for _, ws := range append(sockets, alice.dial("")) {
		ws.sendMessage("Hi", "client_message_id", "c-1")
		if got := ws.expectError("rate_limited"); got.RetryAfter < 1 || got.RetryAfter > 60 || got.ClientMessageID != "c-1" {
			t.Errorf("%+v", got)
		}
	}

	// and: other requests and other users are not affected
	alice.call("POST", "/api/conversations/start", object{}).expect(201)
	bob.dial("").deliver("Hi")
	o.visitor().dial("").deliver("Hi")
	bob.call("POST", "/api/conversations/start", object{"initial_message": "Hi"}).expect(201)
	alice.watch(id).sendRaw("{") // not a message, so not counted
}

// messageEndpoints returns a function for each REST endpoint that sends a message.
func messageEndpoints(c caller, conversation string) map[string]func() response {
	return map[string]func() response{
		"startConversation": func() response {
			return c.call("POST", "/api/conversations/start", object{"initial_message": "Hi"})
		},
		"createCompletion": func() response {
			return c.call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": "Hi"}})
		},
		"createCompletion, streamed": func() response {
			return c.call("POST", "/api/chatbots/parley/completions/", object{"isStreaming": true, "message": object{"content": "Hi"}})
		},
		"sendMessage": func() response {
			return c.call("POST", "/api/conversations/"+conversation+"/messages", object{"content": "Hi"})
		},
		"createMessage": func() response {
			return c.call("POST", "/api/messages/", object{"conversation": conversation, "content": "Hi"})
		},
	}
}

// expectRateLimited checks that a response is a 429 whose headers and problem agree.
func expectRateLimited(t *testing.T, name string, got response) {
	t.Helper()
	problem := got.expectProblem(429, "rate_limited")
	after, err := strconv.Atoi(got.header.Get("Retry-After"))
	if err != nil || after < 1 || after > 60 || problem["retry_after"] != float64(after) || problem["retryable"] != true {
		t.Errorf("%s: Retry-After %q, %v", name, got.header.Get("Retry-After"), problem)
	}
	if _, remaining, reset := rateLimitOf(t, got); remaining != 0 || reset > after {
		t.Errorf("%s: %s, Retry-After %d", name, got.header.Get("RateLimit"), after)
	}
}

// The messages of a user are counted together, whichever key sends them.
func TestKeysOfOneUserShareRateLimit(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{limits: map[string]int{"messages": 2}}).organization()
	first := o.as("alice", auth.Chat).dial("")
	first.deliver("One")
	second := o.as("alice", auth.Chat).dial("")
	second.deliver("Two")
	first.sendMessage("Three")
	first.expectError("rate_limited")
}

// The messages of visitors from one IP address are counted together, separately from those of users.
func TestVisitorsShareRateLimitPerAddress(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{limits: map[string]int{"messages": 3}}).organization()
	alice := o.as("alice", auth.Chat).dial("")
	first, second := o.visitor().dial(""), o.visitor().dial("")
	first.deliver("One")
	second.deliver("Two")
	first.deliver("Three")
	for _, ws := range []*wsClient{first, second, o.visitor().dial("")} {
		ws.sendMessage("Four", "client_message_id", "c-4")
		if got := ws.expectError("rate_limited"); got.RetryAfter < 1 || got.RetryAfter > 60 || got.ClientMessageID != "c-4" {
			t.Errorf("%+v", got)
		}
	}
	for range 3 {
		alice.deliver("Hi")
	}
	elsewhere, err := o.visitor().dialWith("", &websocket.DialOptions{HTTPHeader: http.Header{fromAddress: {"192.0.2.1"}}})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.deliver("Hi")
	alice.sendMessage("Hi")
	alice.expectError("rate_limited")
}

// Each rate limit class has its own count.
func TestRateLimitClassesAreCountedSeparately(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{limits: map[string]int{"messages": 1, "history": 4, "list": 2}}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	for range 2 {
		alice.call("GET", "/api/conversations/"+id+"/history", nil).expect(200)
		alice.call("GET", "/api/messages/", nil).expect(200)
	}
	alice.call("GET", "/api/conversations", nil).expect(200)
	if class, remaining, _ := rateLimitOf(t, alice.call("GET", "/api/conversations/", nil)); class != "list" || remaining != 0 {
		t.Errorf("%s %d", class, remaining)
	}
	for _, path := range []string{"/api/conversations/" + id + "/history", "/api/messages/", "/api/conversations", "/api/conversations/"} {
		alice.call("GET", path, nil).expectProblem(429, "rate_limited")
	}
	alice.postMessage(id, "Hi")
	alice.call("GET", "/api/conversations/"+id+"/", nil).expect(200)
}
