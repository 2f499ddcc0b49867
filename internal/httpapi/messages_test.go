package httpapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

// The response to createMessage is the stored message. getMessage and both lists return the same.
func TestCreatedMessageIsTheSameInEveryResponse(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	made := alice.post("/api/messages/", object{
		"conversation": id, "type": "incoming", "content": question,
		"contentPayload": object{"buttons": []string{"Reset"}}, "queryMetadata": object{"knowledge_bases": []any{}, "channel": "app"},
		"attachments": []object{{"file": "https://files.example.com/a/screen.png"}},
		"canvas":      object{"name": "draft", "canvasType": "markdown", "title": "Draft", "content": "Dear customer"},
	})
	want := []string{
		"attachments", "canvas", "citationNodes", "citations", "content", "contentPayload", "conversation", "createdAt", "feedback", "id",
		"queryMetadata", "runId", "sender", "seq", "type",
	}
	if fields := slices.Sorted(maps.Keys(made)); !slices.Equal(fields, want) {
		t.Errorf("the fields are %v", fields)
	}
	if sender := made["sender"].(object); sender["name"] != "alice" || made["type"] != "incoming" || made["feedback"] != nil || number(made, "seq") != 1 {
		t.Errorf("%v", made)
	}
	alice.awaitRun(text(made, "runId"))
	for where, got := range map[string]object{
		"getMessage":                   alice.get("/api/messages/" + text(made, "id") + "/"),
		"getMessage with conversation": alice.get("/api/messages/" + text(made, "id") + "/?conversation=" + strings.ToUpper(id)),
		"listMessages":                 objects(alice.get("/api/messages/?conversation="+id), "results")[1],
		"listMessages of all":          objects(alice.get("/api/messages/"), "results")[1],
	} {
		if fmt.Sprint(got) != fmt.Sprint(made) {
			t.Errorf("%s returned %v, created was %v", where, got, made)
		}
	}
	// The reply refers to its run and its sources, and its sender is the bot.
	reply := objects(alice.get("/api/messages/?conversation="+id), "results")[0]
	node := objects(reply, "citationNodes")[0]
	if reply["runId"] != made["runId"] || reply["type"] != "outgoing" || reply["content"] != longAnswer || reply["sender"].(object)["id"] != o.bot.ID.String() ||
		objects(reply, "citations")[0]["question"] != question || node["displayScore"] != "100%" || node["chatbotTextNode"].(object)["text"] != longAnswer {
		t.Errorf("the reply: %v", reply)
	}
	// A message can only be reached through its own conversation.
	alice.call(http.MethodGet, "/api/messages/"+text(made, "id")+"/?conversation="+alice.startConversation(), nil).wantProblem(404, "not_found", "")
}

// Only the conversation is required. A message without content is stored but not answered.
func TestEmptyMessagesAreStoredWithoutAReply(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	for i, body := range []object{{}, {"content": ""}, {"content": " \u3000\n"}, {"attachments": []object{}}, {"canvas": nil}, {"contentPayload": object{"a": 1}}} {
		body["conversation"] = id
		if made := alice.post("/api/messages/", body); made["runId"] != nil || number(made, "seq") != i+1 || made["content"] != orDefault(body["content"], "") {
			t.Errorf("%v: %v", body, made)
		}
	}
	for _, body := range []object{
		{"attachments": []object{{"file": "https://files.example.com/a.png"}}},
		{"canvas": object{"name": "", "canvasType": 1, "title": "", "content": ""}},
	} {
		body["conversation"] = id
		made := alice.post("/api/messages/", body)
		if made["runId"] == nil {
			t.Errorf("%v is not answered: %v", body, made)
			continue
		}
		if run := alice.awaitRun(text(made, "runId")); run["state"] != "completed" {
			t.Errorf("%v: %v", body, run)
		}
	}
}

func orDefault(value, instead any) any {
	if value == nil {
		return instead
	}
	return value
}

// Outgoing messages are those of the staff: they require the scope agent, have the name of the user and start no
// reply.
func TestOutgoingMessagesRequireTheScopeAgent(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, staff := o.as("alice", auth.Chat, auth.Manage), o.as("Sam of the staff", auth.Agent)
	id := alice.startConversation()
	body := object{"conversation": id, "type": "outgoing", "content": question}
	alice.call(http.MethodPost, "/api/messages/", body).wantProblem(403, "forbidden", "")
	for _, who := range []caller{staff, o.as("Sam of the staff", auth.Admin)} {
		made := who.post("/api/messages/", body)
		if made["type"] != "outgoing" || made["runId"] != nil || made["sender"].(object)["name"] != "Sam of the staff" {
			t.Errorf("%v", made)
		}
	}
	// An incoming message that the staff creates is sent by the contact, and is answered.
	made := staff.post("/api/messages/", object{"conversation": id, "content": question})
	if made["type"] != "incoming" || made["runId"] == nil || made["sender"].(object)["name"] != "alice" {
		t.Errorf("%v", made)
	}
	staff.awaitRun(text(made, "runId"))
	if history := alice.history(id); history[0]["sender"] != "agent" || history[2]["sender"] != "user" || len(history) != 4 {
		t.Errorf("%v", history)
	}
}

// Content is returned character by character as it was sent.
func TestTextsAreReturnedUnchanged(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	for _, content := range []string{
		"請問如何重設密碼？", "🙂👨‍👩‍👧‍👦🇹🇼👍🏽", "e\u0301 é", "  spaces  ", "tab\tand\r\nlines\n", `<b>&amp;"'\` + "`", "\u2028\u2029\u200b\ufeff",
		"مرحبا עברית", "\U0010FFFF\uFFFD\uE000", "'; DROP TABLE messages; --", "$1 %s {{.}}", strings.Repeat("x", 100000), strings.Repeat("🙂", 100000), strings.Repeat("字", 100000),
	} {
		sent := alice.sendMessage(id, content)
		if got := alice.get("/api/messages/" + text(sent, "message_id") + "/")["content"]; got != content {
			t.Errorf("%.40q was returned as %.40q", content, got)
		}
	}
}

// Every way to send a message limits it to 100,000 characters, whatever their length in bytes.
func TestMessagesAreLimitedTo100000Characters(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	for _, character := range []string{"x", "字", "🙂"} {
		long := strings.Repeat(character, 100001)
		alice.call(http.MethodPost, "/api/conversations/"+id+"/messages", object{"content": long}).wantProblem(413, "too_large", "/content")
		alice.call(http.MethodPost, "/api/messages/", object{"conversation": id, "content": long}).wantProblem(413, "too_large", "/content")
		alice.call(http.MethodPost, "/api/chatbots/parley/completions/", object{"message": object{"content": long}}).wantProblem(413, "too_large", "/message/content")
		got := alice.call(http.MethodPost, "/api/chatbots/parley/completions/", object{"message": object{"content": long[len(character):]}}).wantStatus(200)
		if got["finishReason"] != "stop" {
			t.Errorf("%v", got)
		}
	}
	if n := len(alice.history(id)); n != 0 {
		t.Errorf("%d messages were stored", n)
	}
}

// Violations in the message itself are invalid_message, others invalid_request. Blank content is invalid_message.
func TestBlankContentIsAnInvalidMessage(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	for _, blank := range []string{"", " ", "\t\r\n", "\u3000\u00a0\u2003"} {
		alice.call(http.MethodPost, "/api/conversations/"+id+"/messages", object{"content": blank}).wantProblem(400, "invalid_message", "/content")
		alice.call(http.MethodPost, "/api/chatbots/parley/completions/", object{"message": object{"content": blank}}).wantProblem(400, "invalid_message", "/message/content")
	}
	file := []object{{"file": "https://files.example.com/a.png"}}
	alice.post("/api/conversations/"+id+"/messages", object{"content": " ", "attachments": file})
	alice.call(http.MethodPost, "/api/chatbots/parley/completions/", object{"message": object{"content": "", "attachments": file}}).wantStatus(200)
	alice.call(http.MethodPost, "/api/conversations/"+id+"/messages", object{}).wantProblem(400, "invalid_message", "/content")
	alice.call(http.MethodPost, "/api/messages/", object{"content": "Hi"}).wantProblem(400, "invalid_request", "/conversation")
	alice.call(http.MethodPost, "/api/messages/", object{"conversation": 7, "content": "Hi"}).wantProblem(400, "invalid_request", "/conversation")
	alice.call(http.MethodPost, "/api/messages/", object{"conversation": "", "content": "Hi"}).wantProblem(404, "not_found", "")
}
