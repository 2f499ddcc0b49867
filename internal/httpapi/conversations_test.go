package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

// The response to start has the three fields of the reference. Fields about the first message are present only if the
// request contains one.
func TestStartCreatesAConversationAndAnswersItsFirstMessage(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)

	for _, body := range []object{{}, {"initial_message": ""}} {
		started := alice.post("/api/conversations/start", body)
		if started["conversation_id"] != started["session_id"] || started["status"] != "active" || len(started) != 3 {
			t.Errorf("without a message: %v", started)
		}
		if messages := alice.history(text(started, "conversation_id")); len(messages) != 0 {
			t.Errorf("without a message the history is %v", messages)
		}
	}
	started := alice.post("/api/conversations/start", object{"bot_id": "parley", "initial_message": question})
	if len(started) != 5 || started["conversation_id"] != started["session_id"] {
		t.Errorf("with a message: %v", started)
	}
	alice.awaitRun(text(started, "run_id"))
	messages := alice.history(text(started, "conversation_id"))
	if len(messages) != 2 || messages[0]["id"] != started["message_id"] || messages[0]["content"] != question || messages[1]["content"] != longAnswer {
		t.Errorf("the history: %v", messages)
	}
}

// A refused start stores nothing.
func TestRefusedStartCreatesNothing(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	alice.call(http.MethodPost, "/api/conversations/start", object{"bot_id": "nobody"}).wantProblem(404, "not_found", "")
	alice.call(http.MethodPost, "/api/conversations/start", object{"bot_id": ""}).wantProblem(400, "invalid_request", "/bot_id")
	alice.call(http.MethodPost, "/api/conversations/start", object{"initial_message": " \n\t\u3000"}).wantProblem(400, "invalid_message", "/initial_message")
	alice.call(http.MethodPost, "/api/conversations/start", object{"initial_message": strings.Repeat("x", 100001)}).wantProblem(413, "too_large", "/initial_message")
	if n := query[int](alice.server, "SELECT count(*) FROM sessions"); n != 0 {
		t.Errorf("there are %d conversations", n)
	}
}

// The Chatbots family shows a new conversation with all of its fields.
func TestConversationsAreCreatedThroughAWebChat(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	made := alice.post("/api/conversations/", object{"webChat": o.webChat.ID})
	want := []string{
		"autoReplyEnabled", "chatbot", "contact", "createdAt", "enableGroupMention", "id", "inbox", "isAutoReplyNow", "isGroupChat", "lastMessage",
		"lastMessageCreatedAt", "lastReadAt", "status", "title", "unreadMessagesCount",
	}
	if fields := slices.Sorted(maps.Keys(made)); !slices.Equal(fields, want) {
		t.Errorf("the fields are %v", fields)
	}
	contact, inbox := made["contact"].(object), made["inbox"].(object)
	switch {
	case made["status"] != "active" || made["title"] != "" || made["autoReplyEnabled"] != true || made["isAutoReplyNow"] != true,
		made["lastMessage"] != nil || made["lastMessageCreatedAt"] != nil || made["lastReadAt"] != nil || number(made, "unreadMessagesCount") != 0,
		made["isGroupChat"] != false || made["enableGroupMention"] != false,
		contact["name"] != "alice" || inbox["id"] != o.webChat.InboxID.String() || inbox["channelType"] != "web" || inbox["name"] != "Website",
		made["chatbot"].(object)["id"] != o.bot.ID.String() || made["chatbot"].(object)["name"] != "Parley":
		t.Errorf("%v", made)
	}
	// The caller has one contact in an inbox for all conversations.
	again := alice.post("/api/conversations/", object{"webChat": o.webChat.ID})
	if again["contact"].(object)["id"] != contact["id"] || again["id"] == made["id"] {
		t.Errorf("the second conversation: %v", again)
	}
	// A conversation can be created for another contact.
	bob := o.as("bob", auth.Chat).post("/api/conversations/", object{"webChat": o.webChat.ID})["contact"].(object)
	named := alice.post("/api/conversations/", object{"webChat": o.webChat.ID, "contact": bob["id"]})
	if named["contact"].(object)["name"] != "bob" {
		t.Errorf("with a contact: %v", named)
	}
	alice.call(http.MethodPost, "/api/conversations/", object{"webChat": o.webChat.ID, "contact": ""}).wantProblem(400, "invalid_request", "/contact")
	alice.call(http.MethodPost, "/api/conversations/", object{"webChat": ""}).wantProblem(404, "not_found", "")
}

// A PATCH keeps the fields that it omits. An empty PATCH changes nothing.
func TestPatchChangesOnlyTheGivenFieldsOfAConversation(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	path := "/api/conversations/" + alice.startConversation() + "/"
	alice.patch(path, object{"title": "密碼 🔑", "autoReplyEnabled": false})
	before := alice.get(path)
	if before["title"] != "密碼 🔑" || before["autoReplyEnabled"] != false || before["isAutoReplyNow"] != false || before["status"] != "active" {
		t.Errorf("%v", before)
	}
	if after := alice.patch(path, object{}); after["title"] != before["title"] || after["autoReplyEnabled"] != false {
		t.Errorf("an empty PATCH changed it to %v", after)
	}
	if after := alice.patch(path, object{"status": "archived", "title": ""}); after["status"] != "archived" || after["title"] != "" || after["autoReplyEnabled"] != false {
		t.Errorf("%v", after)
	}
	if after := alice.patch(path, object{"status": "active", "autoReplyEnabled": true}); after["status"] != "active" || after["isAutoReplyNow"] != true {
		t.Errorf("%v", after)
	}
	alice.call(http.MethodPatch, path, object{"title": strings.Repeat("字", 501)}).wantProblem(400, "invalid_request", "/title")
	alice.patch(path, object{"title": strings.Repeat("字", 500)})
}

// With auto-reply off, a message is stored and starts no run. A completion requests a reply explicitly and receives
// it.
func TestWithAutoReplyOffOnlyCompletionsAreAnswered(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	if sent := alice.sendMessage(id, question); sent["run_id"] != nil {
		t.Errorf("sendMessage started a run: %v", sent)
	}
	if sent := alice.post("/api/messages/", object{"conversation": id, "content": question}); sent["runId"] != nil {
		t.Errorf("createMessage started a run: %v", sent)
	}
	got := alice.call(http.MethodPost, "/api/chatbots/parley/completions/", object{"conversation": id, "message": object{"content": question}}).wantStatus(200)
	if got["content"] != longAnswer {
		t.Errorf("%v", got)
	}
	if n := query[int](alice.server, "SELECT count(*) FROM runs"); n != 1 {
		t.Errorf("there are %d runs", n)
	}
}

// Every way to send a message reactivates an archived conversation.
func TestSendingToAnArchivedConversationMakesItActive(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat, auth.Agent)
	id := alice.startConversation()
	path := "/api/conversations/" + id + "/"
	for name, send := range map[string]func(){
		"sendMessage":             func() { alice.ask(id, question) },
		"createMessage":           func() { alice.post("/api/messages/", object{"conversation": id}) },
		"createMessage, outgoing": func() { alice.post("/api/messages/", object{"conversation": id, "type": "outgoing", "content": "Hi"}) },
		"createCompletion": func() {
			alice.call(http.MethodPost, "/api/chatbots/parley/completions/", object{"conversation": id, "message": object{"content": "Hi"}}).wantStatus(200)
		},
	} {
		alice.patch(path, object{"status": "archived"})
		if send(); alice.get(path)["status"] != "active" {
			t.Errorf("after %s the conversation is still archived", name)
		}
	}
}

// A deleted conversation and its contents are not found by any caller.
func TestDeletingAConversationDeletesItsContents(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	sent := alice.ask(id, question)
	alice.remove("/api/conversations/" + id + "/")
	for _, path := range []string{
		"/api/conversations/" + id + "/", "/api/conversations/" + id + "/history", "/api/messages/?conversation=" + id,
		"/api/messages/" + text(sent, "message_id") + "/", "/api/runs/" + text(sent, "run_id") + "/",
	} {
		alice.call(http.MethodGet, path, nil).wantProblem(404, "not_found", "")
	}
	alice.call(http.MethodDelete, "/api/conversations/"+id+"/", nil).wantProblem(404, "not_found", "")
	alice.call(http.MethodPatch, "/api/conversations/"+id+"/", object{}).wantProblem(404, "not_found", "")
	alice.call(http.MethodPost, "/api/conversations/"+id+"/messages", object{"content": "Hi"}).wantProblem(404, "not_found", "")
	alice.call(http.MethodPost, "/api/messages/", object{"conversation": id}).wantProblem(404, "not_found", "")
	alice.call(http.MethodPost, "/api/chatbots/parley/completions/", object{"conversation": id, "message": object{"content": "Hi"}}).wantProblem(404, "not_found", "")
	for _, table := range []string{"sessions", "message_history", "runs", "records"} {
		if n := query[int](alice.server, "SELECT count(*) FROM "+table); n != 0 {
			t.Errorf("%s still has %d rows", table, n)
		}
	}
}

// For the staff, incoming messages are unread; for the user, those of the bot and of agents.
func TestUnreadCountsMessagesOfTheOtherSide(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, staff := o.as("alice", auth.Chat), o.as("staff", auth.Agent)
	id := alice.startConversation()
	unread := func() (int, int) {
		shown := alice.get("/api/conversations/" + id + "/")
		return number(objects(alice.get("/api/conversations"), "conversations")[0], "unread"), number(shown, "unreadMessagesCount")
	}
	alice.ask(id, question)
	if user, staff := unread(); user != 1 || staff != 1 {
		t.Errorf("after a question and its reply: %d, %d", user, staff)
	}
	staff.sendMessage(id, "I am a person.")
	staff.post("/api/messages/", object{"conversation": id, "type": "outgoing", "content": "Really."})
	if user, staff := unread(); user != 3 || staff != 1 {
		t.Errorf("after two messages of the staff: %d, %d", user, staff)
	}
	shown := alice.get("/api/conversations/" + id + "/")
	if number(shown["inbox"].(object), "unreadConversationsCount") != 1 {
		t.Errorf("the inbox: %v", shown["inbox"])
	}
}

// The Chatbots family returns the newest message as an object with its time, the Conversations family as text.
func TestConversationsShowTheirNewestMessage(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	alice.ask(id, question)
	shown := alice.get("/api/conversations/" + id + "/")
	last := shown["lastMessage"].(object)
	if last["content"] != longAnswer || last["type"] != "outgoing" || number(last, "seq") != 2 || shown["lastMessageCreatedAt"] != last["createdAt"] {
		t.Errorf("%v", shown)
	}
	listed := objects(alice.get("/api/conversations"), "conversations")[0]
	if listed["last_message"] != longAnswer || listed["last_activity"] != last["createdAt"] || listed["bot_name"] != "Parley" || listed["id"] != id {
		t.Errorf("%v", listed)
	}
}

// Deleting a conversation while a reply to it starts is not a failure and is not logged as one.
func TestReplyToADeletedConversationIsNotCountedAsFailure(t *testing.T) {
	t.Parallel()
	s := serveWith(t, settings{log: &logChecker{t: t}})
	alice := s.organization().as("alice", auth.Chat)
	id := alice.startConversation()
	// given a run that waits to read its bot
	tx := must(s.sql.Begin(t.Context()))
	must(tx.Exec(t.Context(), "LOCK TABLE bots IN ACCESS EXCLUSIVE MODE"))
	alice.sendMessage(id, "Hi")
	eventually(t, "the run waits for its bot", func() bool {
		return query[bool](s, "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'bots'::regclass AND NOT granted)")
	})
	// when the conversation is deleted
	must(tx.Exec(t.Context(), "DELETE FROM sessions WHERE id = $1", id))
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	// then the server can finish its runs, and the log, which the harness checks, has no error
	alice.call(http.MethodGet, "/api/conversations/"+id+"/history", nil).wantProblem(404, "not_found", "")
}
