package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/internal/auth"
)

const chatCompletions = "/v1/chat/completions"

// chatBody returns a request with these messages, alternately of the user and the model. The last one is the user's.
func chatBody(said ...string) object {
	var messages []any
	for i, text := range said {
		role := "user"
		if (len(said)-i)%2 == 0 {
			role = "assistant"
		}
		messages = append(messages, object{"role": role, "content": text})
	}
	return object{"model": "parley", "messages": messages}
}

// withConversation adds a conversation to a request.
func withConversation(conversation string, body object) object {
	body["metadata"] = object{"conversation_id": conversation}
	return body
}

// completeChat sends a request and returns the text of the reply.
func (c caller) completeChat(body object) string {
	c.t.Helper()
	answer := c.call(http.MethodPost, chatCompletions, body).wantStatus(200)
	return text(objects(answer, "choices")[0]["message"].(object), "content")
}

// Without a conversation, neither the question nor the reply is stored.
func TestStatelessChatCompletionStoresNothing(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	before := o.snapshot()
	began := time.Now().Unix()
	var ids []string
	for _, model := range []string{"parley", o.bot.ID.String(), strings.ToUpper(o.bot.ID.String())} {
		body := chatBody(question)
		body["model"] = model
		got := alice.call(http.MethodPost, chatCompletions, body, withHeader("Idempotency-Key", "k"))
		answer := got.wantStatus(200)
		ids = append(ids, text(answer, "id"))
		delete(answer, "id")
		if created := number(answer, "created"); int64(created) < began || int64(created) > time.Now().Unix() {
			t.Errorf("created is %d", created)
		}
		delete(answer, "created")
		want := decode(t, `{"object": "chat.completion", "model": "parley",
			"choices": [{"index": 0, "message": {"role": "assistant", "content": "`+longAnswer+`", "refusal": null}, "logprobs": null, "finish_reason": "stop"}]}`)
		if !equalJSON(answer, want) || got.header.Get("X-Run-Id") != "" || got.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%v, %v", answer, got.header)
		}
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 3 || !strings.HasPrefix(ids[0], "chatcmpl-") {
		t.Errorf("the ids are %v", ids)
	}
	for _, metadata := range []any{nil, object{}, object{"conversation_id": ""}, object{"conversation_id": nil}, object{"Conversation_ID": "x"}} {
		body := chatBody("請問如何申請退款？")
		body["metadata"] = metadata
		if reply := alice.completeChat(body); reply != "請到訂單頁面按下退款按鈕。" {
			t.Errorf("%v: %s", metadata, reply)
		}
	}
	if after := o.snapshot(); after != before {
		t.Errorf("the data changed from\n%s\nto\n%s", before, after)
	}
}

// In a conversation, the question and the reply are stored as messages, and the model receives the earlier messages.
func TestChatCompletionInAConversationIsStored(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	upstream := serveModel(t, streamGoodDay)
	alice := o.withModel(upstream)
	id := alice.startConversation()
	alice.ask(id, "First of all")
	body := withConversation(id, chatBody("Not said here", "Nor this", "And then?"))
	body["messages"].([]any)[2] = object{"role": "user", "content": []any{
		object{"type": "text", "text": "And then?"}, object{"type": "image_url", "image_url": object{"url": "https://files.test/cat.png"}},
	}}
	body["metadata"].(object)["trace"] = 7
	got := alice.call(http.MethodPost, chatCompletions, body)
	answer := got.wantStatus(200)
	history := alice.history(id)
	if len(history) != 4 || history[2]["content"] != "And then?" || history[3]["content"] != "Good day 您好" || !sameJSON(t, history[2]["metadata"], body["metadata"]) {
		t.Fatalf("%v", history)
	}
	if attached := objects(history[2], "attachments"); attached[0]["type"] != "image" || attached[0]["filename"] != "cat.png" || attached[0]["file"] != "https://files.test/cat.png" {
		t.Errorf("%v", attached)
	}
	messages, _ := upstream.last()
	if said := fmt.Sprint(messages); !strings.Contains(said, "First of all") || strings.Contains(said, "Not said here") || !strings.Contains(said, "cat.png") {
		t.Errorf("the model was sent %v", messages)
	}
	run := got.header.Get("X-Run-Id")
	if text(answer, "id") != "chatcmpl-"+run || alice.get("/api/runs/" + run + "/")["conversation"] != id || number(answer["usage"].(object), "total_tokens") != 127 {
		t.Errorf("%v, X-Run-Id %s", answer, run)
	}
}

// A reply in a conversation continues after its caller disconnects. A stateless reply ends, and the request to the
// model is aborted.
func TestDisconnectingCancelsAStatelessReply(t *testing.T) {
	t.Parallel()
	o := serveWith(t, settings{replies: 1}).organization()
	begun, ended := make(chan bool), make(chan bool)
	upstream := serveModel(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		begun <- true
		<-r.Context().Done()
		ended <- true
	})
	alice := o.withModel(upstream)
	for _, streaming := range []bool{false, true} {
		body := chatBody("Hello?")
		body["stream"] = streaming
		ctx, hangUp := context.WithCancel(t.Context())
		request := must(o.request(http.MethodPost, chatCompletions, body, withHeader("Authorization", "Bearer "+alice.key)))
		left := make(chan bool)
		go func() {
			defer close(left)
			if response, err := o.http.Do(request.WithContext(ctx)); err == nil {
				_, _ = response.Body.Read(make([]byte, 1<<10))
				<-ctx.Done()
				response.Body.Close()
			}
		}()
		<-begun
		// Meanwhile the only slot is in use, and other requests are refused immediately.
		got := alice.call(http.MethodPost, chatCompletions, chatBody("Hello?"))
		if err := got.checkProblem(503, "unavailable", ""); err != nil || got.header.Get("Retry-After") != "2" || got.header.Get("X-Should-Retry") != "" {
			t.Errorf("%v %v", err, got.header)
		}
		hangUp()
		<-left
		<-ended
	}
	// The slot is free again.
	alice.patch("/api/chatbots/parley/", object{"engine": "faq"})
	eventually(t, "a slot is free", func() bool { return alice.call(http.MethodPost, chatCompletions, chatBody(question)).status == 200 })
}

// Invalid messages that the schema cannot exclude are rejected with a pointer, and nothing is stored.
func TestInvalidChatCompletionsAreRejected(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	before := o.snapshot()
	asked := func(content any) object { return object{"role": "user", "content": content} }
	image := func(url any) []any {
		return []any{object{"type": "text", "text": "?"}, object{"type": "image_url", "image_url": object{"url": url}}}
	}
	for _, conversation := range []string{"", id} {
		for _, c := range []struct {
			message object
			status  int
			code    string
			where   string
		}{
			{object{"role": "assistant", "content": "Hi"}, 400, "invalid_message", "/messages/1/role"},
			{object{"role": "system", "content": "Hi"}, 400, "invalid_message", "/messages/1/role"},
			{object{"role": "user"}, 400, "invalid_message", "/messages/1/content"},
			{asked(nil), 400, "invalid_message", "/messages/1/content"},
			{asked(" \n\u3000"), 400, "invalid_message", "/messages/1/content"},
			{asked([]any{}), 400, "invalid_message", "/messages/1/content"},
			{asked([]any{object{"type": "file", "file": object{}}}), 400, "unsupported_parameter", "/messages/1/content/0"},
			{asked([]any{object{"type": "text", "text": "?"}, object{"type": "input_audio"}}), 400, "unsupported_parameter", "/messages/1/content/1"},
			{asked(7), 400, "invalid_message", "/messages/1/content"},
			{asked(object{"type": "text", "text": "Hi"}), 400, "invalid_message", "/messages/1/content"},
			{asked([]any{"Hi"}), 400, "invalid_message", "/messages/1/content"},
			{asked([]any{object{"text": "Hi"}}), 400, "invalid_message", "/messages/1/content/0/type"},
			{asked([]any{object{"type": 7}}), 400, "invalid_message", "/messages/1/content/0/type"},
			{asked([]any{object{"type": "text"}}), 400, "invalid_message", "/messages/1/content/0/text"},
			{asked([]any{object{"type": "text", "text": 7}}), 400, "invalid_message", "/messages/1/content/0/text"},
			{asked([]any{object{"type": "image_url"}}), 400, "invalid_message", "/messages/1/content/0/image_url/url"},
			{asked([]any{object{"type": "image_url", "image_url": "https://a.test/"}}), 400, "invalid_message", "/messages/1/content/0/image_url/url"},
			{asked(image(7)), 400, "invalid_message", "/messages/1/content/1/image_url/url"},
			{asked(image("cat.png")), 400, "invalid_message", "/messages/1/content/1/image_url/url"},
			{asked(image("file:///etc/passwd")), 400, "invalid_message", "/messages/1/content/1/image_url/url"},
			{asked(slices.Repeat(image("https://a.test/"), 51)), 400, "invalid_message", "/messages/1/content"},
			{asked(strings.Repeat("字", 100001)), 413, "too_large", "/messages/1/content"},
		} {
			body := chatBody("", "")
			body["messages"].([]any)[1] = c.message
			if conversation != "" {
				body = withConversation(conversation, body)
			}
			for _, streaming := range []bool{false, true} {
				body["stream"] = streaming
				if err := alice.call(http.MethodPost, chatCompletions, body).checkProblem(c.status, c.code, c.where); err != nil {
					t.Error(truncate(err))
				}
			}
		}
	}
	alice.call(http.MethodPost, chatCompletions, withConversation(id, object{"model": "parley", "messages": []any{asked(image("data:image/png;base64,AAAA"))}})).
		wantProblem(400, "invalid_message", "/messages/0/content/1/image_url/url")
	if after := o.snapshot(); after != before {
		t.Errorf("the data changed from\n%s\nto\n%s", before, after)
	}
	// Questions of the maximum length and questions of images alone are accepted.
	alice.completeChat(chatBody(strings.Repeat("字", 100000)))
	alice.completeChat(object{"model": "parley", "messages": []any{asked(image("https://a.test/")[1:])}})
}

// A request with an unknown model or conversation is refused with a pointer to the name.
func TestUnknownModelsAndConversationsAreRejected(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	o.as("manager", auth.Manage).post("/api/chatbots/", object{"name": "Other", "slug": "other"})
	id := alice.startConversation()
	fails := func(got answer, status int, kind, code, param string) {
		t.Helper()
		failure := got.wantStatus(status)["error"].(object)
		if failure["type"] != kind || failure["code"] != code || (param == "") != (failure["param"] == nil) || param != "" && failure["param"] != param {
			t.Errorf("%s: %v", got.request, failure)
		}
	}
	for _, model := range []string{"nobody", uuid.NewString(), "", "gpt-4o", "a/b", "PARLEY"} {
		body := chatBody(question)
		body["model"] = model
		fails(alice.call(http.MethodPost, chatCompletions, body), 404, "not_found_error", "model_not_found", "model")
	}
	fails(alice.call(http.MethodGet, "/v1/models/nobody", nil), 404, "not_found_error", "model_not_found", "model")
	for _, conversation := range []string{"x", uuid.NewString()} {
		fails(alice.call(http.MethodPost, chatCompletions, withConversation(conversation, chatBody(question))), 404, "not_found_error", "not_found", "metadata.conversation_id")
	}
	other := withConversation(id, chatBody(question))
	other["model"] = "other"
	fails(alice.call(http.MethodPost, chatCompletions, other), 404, "not_found_error", "not_found", "metadata.conversation_id")
	fails(bob.call(http.MethodPost, chatCompletions, withConversation(id, chatBody(question))), 403, "permission_error", "forbidden", "")
	fails(o.call(http.MethodPost, chatCompletions, chatBody(question)), 401, "authentication_error", "unauthorized", "")
	fails(alice.call(http.MethodPut, chatCompletions, nil), 405, "invalid_request_error", "method_not_allowed", "")
	for _, path := range []string{"/v1", "/v1/", "/v1/embeddings", "/v1/chat"} {
		fails(alice.call(http.MethodGet, path, nil), 404, "not_found_error", "not_found", "")
	}
	if n := len(alice.history(id)); n != 0 {
		t.Errorf("%d messages are stored", n)
	}
}

// The models are the organization's chatbots, newest first.
func TestChatbotsAreListedAsModels(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o, other := s.organization(), s.organization()
	other.as("manager", auth.Manage).post("/api/chatbots/", object{"name": "Theirs", "slug": "theirs"})
	made := o.as("manager", auth.Manage).post("/api/chatbots/", object{"name": "New", "slug": "new"})
	alice := o.as("alice", auth.Chat)
	list := alice.get("/v1/models")
	models := objects(list, "data")
	if list["object"] != "list" || len(models) != 2 || models[0]["id"] != "new" || models[1]["id"] != "parley" {
		t.Fatalf("%v", list)
	}
	created := must(time.Parse(time.RFC3339, text(made, "createdAt")))
	want := object{"id": "new", "object": "model", "created": created.Unix(), "owned_by": o.name}
	for _, got := range []object{models[0], alice.get("/v1/models/new"), alice.get("/v1/models/" + text(made, "id")), alice.get("/v1/models/new/")} {
		if !sameJSON(t, got, want) {
			t.Errorf("%v", got)
		}
	}
}
