package httpapi_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"parley/internal/auth"
)

const completions = "/api/chatbots/parley/completions/"

// The JSON response has all fields of the contract and equals the stored message.
func TestCompletionReturnsTheStoredReply(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	got := alice.call(http.MethodPost, completions, object{"message": object{"content": question}})
	body := got.wantStatus(200)
	want := []string{"citationNodes", "citations", "content", "conversationId", "done", "finishReason", "messageId", "model", "runId", "suggestions", "usage"}
	if fields := slices.Sorted(maps.Keys(body)); !slices.Equal(fields, want) {
		t.Errorf("the fields are %v", fields)
	}
	if body["content"] != longAnswer || body["done"] != true || body["finishReason"] != "stop" || body["usage"] != nil || got.header.Get("X-Run-Id") != body["runId"] {
		t.Errorf("%v, X-Run-Id %s", body, got.header.Get("X-Run-Id"))
	}
	stored := alice.get("/api/messages/" + text(body, "messageId") + "/")
	for completion, message := range map[string]string{"conversationId": "conversation", "runId": "runId", "content": "content", "citations": "citations", "citationNodes": "citationNodes"} {
		if !equalJSON(body[completion], stored[message]) {
			t.Errorf("%s is %v, stored is %v", completion, body[completion], stored[message])
		}
	}
	if run := alice.get("/api/runs/" + text(body, "runId") + "/"); run["state"] != "completed" || run["messageId"] != body["messageId"] {
		t.Errorf("the run: %v", run)
	}
	// The conversation is listed like any other.
	if listed := objects(alice.get("/api/conversations"), "conversations"); len(listed) != 1 || listed[0]["id"] != body["conversationId"] {
		t.Errorf("the list: %v", listed)
	}
}

// If the conversation is absent, null or empty, a new one is created in the bot's API inbox. Otherwise the given one
// continues.
func TestCompletionStartsOrContinuesAConversation(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	seen := map[any]bool{}
	for _, body := range []string{
		`{"message":{"content":"Hi"}}`, `{"conversation":null,"message":{"content":"Hi"}}`, `{"conversation":"","message":{"content":"Hi"},"isStreaming":false}`,
	} {
		got := alice.call(http.MethodPost, completions, body).wantStatus(200)
		seen[got["conversationId"]] = true
		shown := alice.get("/api/conversations/" + text(got, "conversationId") + "/")
		if inbox := shown["inbox"].(object); inbox["channelType"] != "api" || shown["chatbot"].(object)["id"] != o.bot.ID.String() {
			t.Errorf("%s: %v", body, shown)
		}
		again := alice.call(http.MethodPost, completions, object{"conversation": got["conversationId"], "message": object{"content": question}}).wantStatus(200)
		if again["conversationId"] != got["conversationId"] || again["content"] != longAnswer {
			t.Errorf("in the given conversation: %v", again)
		}
		alice.checkAnswered(text(got, "conversationId"), 2)
	}
	if len(seen) != 3 {
		t.Errorf("%d conversations", len(seen))
	}
	// A bot can be named by its ID, in lower or upper case.
	for _, ref := range []string{o.bot.ID.String(), strings.ToUpper(o.bot.ID.String())} {
		alice.call(http.MethodPost, "/api/chatbots/"+ref+"/completions/", object{"message": object{"content": "Hi"}}).wantStatus(200)
	}
}

// A conversation belongs to one bot and is not found through another. Of several errors, the first is reported.
func TestCompletionInConversationOfAnotherChatbotIsNotFound(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	o.as("manager", auth.Manage).post("/api/chatbots/", object{"name": "Other", "slug": "other"})
	id := alice.startConversation()
	for _, streaming := range []bool{false, true} {
		body := object{"conversation": id, "isStreaming": streaming, "message": object{"content": "Hi"}}
		alice.call(http.MethodPost, "/api/chatbots/other/completions/", body).wantProblem(404, "not_found", "")
		alice.call(http.MethodPost, "/api/chatbots/nobody/completions/", body).wantProblem(404, "not_found", "")
		for _, bad := range []string{"x", uuid.NewString(), id + "0"} {
			alice.call(http.MethodPost, completions, object{"conversation": bad, "isStreaming": streaming, "message": object{"content": "Hi"}}).wantProblem(404, "not_found", "")
		}
	}
	if n := len(alice.history(id)); n != 0 {
		t.Errorf("%d messages are stored", n)
	}
}

// A sender that is not a contact of the organization is 400, as in the reference. A contact is accepted.
func TestCompletionSenderMustBeAContactOfTheOrganization(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	contact := bob.get("/api/conversations/" + bob.startConversation() + "/")["contact"].(object)
	for _, sender := range []string{"", "x", uuid.NewString()} {
		alice.call(http.MethodPost, completions, object{"message": object{"content": "Hi", "sender": sender}}).wantProblem(400, "invalid_request", "/message/sender")
	}
	if n := query[int](o.server, "SELECT count(*) FROM message_history"); n != 0 {
		t.Errorf("%d messages are stored", n)
	}
	got := alice.call(http.MethodPost, completions, object{"message": object{"content": question, "sender": contact["id"]}}).wantStatus(200)
	asked := objects(alice.get("/api/messages/?conversation="+text(got, "conversationId")), "results")[1]
	if asked["sender"].(object)["id"] != contact["id"] || asked["sender"].(object)["name"] != "bob" || asked["type"] != "incoming" {
		t.Errorf("%v", asked)
	}
}

// A reply is stored in the conversation even if the caller disconnects while waiting for it, in either form.
func TestReplyIsStoredAfterTheCallerDisconnects(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	for _, streaming := range []bool{false, true} {
		id := alice.startConversation()
		release := o.blockReplies()
		ctx, hangUp := context.WithCancel(t.Context())
		request := must(o.request(http.MethodPost, completions, object{"conversation": id, "isStreaming": streaming, "message": object{"content": question}},
			withHeader("Authorization", "Api-Key "+alice.key)))
		if streaming {
			response, err := o.http.Do(request.WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			hangUp()
			response.Body.Close()
		} else {
			failed := make(chan error, 1)
			go func() {
				response, err := o.http.Do(request.WithContext(ctx))
				if err == nil {
					response.Body.Close()
				}
				failed <- err
			}()
			eventually(t, "the question is stored", func() bool { return len(alice.history(id)) == 1 })
			hangUp()
			if err := <-failed; err == nil {
				t.Error("a response arrived although the bot is blocked")
			}
		}
		release()
		alice.checkAnswered(id, 1)
		if got := alice.history(id)[1]["content"]; got != longAnswer {
			t.Errorf("streaming %v: the stored reply is %v", streaming, got)
		}
	}
}

// Deleting a conversation ends the completions that wait for a reply in it.
func TestDeletingAConversationEndsItsWaitingCompletions(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	for _, streaming := range []bool{false, true} {
		id := alice.startConversation()
		release := o.blockReplies()
		answered := make(chan answer, 1)
		failed := make(chan error, 1)
		go func() {
			got, err := o.tryCall(http.MethodPost, completions, object{"conversation": id, "isStreaming": streaming, "message": object{"content": question}}, withHeader("Authorization", "Api-Key "+alice.key))
			answered <- got
			failed <- err
		}()
		eventually(t, "the question is stored", func() bool { return len(alice.history(id)) == 1 })
		alice.remove("/api/conversations/" + id + "/")
		got := <-answered
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		if streaming {
			events := got.events()
			last := events[len(events)-1].data
			if last["done"] != true || last["finishReason"] != "error" || last["error"].(object)["error"] != "not_found" {
				t.Errorf("the last event: %v", last)
			}
		} else {
			got.wantProblem(404, "not_found", "")
		}
		release()
	}
}
