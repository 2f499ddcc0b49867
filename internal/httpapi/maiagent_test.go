package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"parley/internal/auth"
)

// A field that the server does not support is refused, in both spellings, unless its value has no effect.
func TestUnsupportedFieldsAreRejectedUnlessEmpty(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	conversation := "/api/conversations/" + admin.startConversation() + "/"
	for _, request := range []struct{ method, path, field, value string }{
		{http.MethodPost, "/api/chatbots/", "webhookUrl", "https://example.com/hook"},
		{http.MethodPatch, "/api/chatbots/parley/", "webhook_url", "https://example.com/hook"},
		{http.MethodPut, "/api/chatbots/parley/", "webhookUrl", "https://example.com/hook"},
		{http.MethodPost, "/api/chatbots/", "knowledge_bases", "x"},
		{http.MethodPatch, conversation, "enableGroupMention", "true"},
	} {
		got := admin.call(request.method, request.path, object{"name": "Support", request.field: request.value})
		got.wantProblem(400, "invalid_request", "/"+request.field)
		for _, empty := range []any{nil, "", false, []any{}, object{}} {
			if got := admin.call(request.method, request.path, object{"name": "Support", request.field: empty, "rag": "0b6f7c1e"}); got.status >= 300 {
				t.Errorf("%s with %s: %v: %d %s", got.request, request.field, empty, got.status, got.body)
			}
		}
	}
}

// PUT has the effect of PATCH, and MaiAgent's paths reach the corresponding operations.
func TestPutAndPathsOfMaiAgentReachOperations(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	changed := admin.call(http.MethodPut, "/api/v1/chatbots/parley", object{"name": "Support", "greeting": "Hello"}).wantStatus(200)
	if again := admin.call(http.MethodPut, "/api/chatbots/parley/", object{"name": "Help"}).wantStatus(200); again["greeting"] != "Hello" || again["name"] != "Help" || changed["name"] != "Support" {
		t.Errorf("after PUT: %v", again)
	}
	id := admin.startConversation()
	path := "/api/conversations/" + id + "/update-auto-reply/"
	for _, method := range []string{http.MethodPatch, http.MethodPut} {
		if got := admin.call(method, path, object{"auto_reply_enabled": method == http.MethodPut}).wantStatus(200); got["autoReplyEnabled"] != (method == http.MethodPut) || got["id"] != id {
			t.Errorf("%s: %v", method, got)
		}
	}
	admin.call(http.MethodDelete, path, nil).wantProblem(404, "not_found", "")
	admin.call(http.MethodPut, "/api/messages/", object{}).wantProblem(405, "method_not_allowed", "")
	me := admin.get("/api/v1/users/current/")
	if me["name"] != "admin" || me["id"] != me["user"].(object)["id"] {
		t.Errorf("the current user is %v", me)
	}
}

// An export without a locale has its headers in the language that the client accepts.
func TestExportsFollowAcceptLanguage(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	path := "/api/chatbots/parley/records/export/?startDate=" + dayParameters["startDate"] + "&endDate=" + dayParameters["endDate"]
	for _, want := range []struct {
		accepted, query string
		isChinese       bool
	}{
		{"", "", false},
		{"zh-TW,zh;q=0.9,en;q=0.8", "", true},
		{"zh-TW", "&locale=en", false},
		{"en-US,zh-TW;q=0.5", "", false},
		{"fr", "", false},
		{"fr", "&locale=zh-TW", true},
		{";;;q=", "", false},
	} {
		got := admin.call(http.MethodGet, path+want.query, nil, withHeader("Accept-Language", want.accepted))
		if isChinese := strings.Contains(string(got.body), "訊息"); got.status != 200 || isChinese != want.isChinese || got.header.Get("Vary") != "Accept-Language" {
			t.Errorf("Accept-Language %q, query %q: %d %s", want.accepted, want.query, got.status, got.body)
		}
	}
}

// Names in a multipart form may be unquoted, as .NET sends them.
func TestUploadsMayHaveUnquotedNames(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	form := "--b\r\nContent-Type: text/csv\r\nContent-Disposition: form-data; name=file; filename=faqs.csv; filename*=utf-8''faqs.csv\r\n\r\nquestion,answer\r\nWho?,Me.\r\n--b--\r\n"
	got := admin.call(http.MethodPost, "/api/chatbots/parley/faqs/import/", strings.NewReader(form), withHeader("Content-Type", `multipart/form-data; boundary="b"`))
	if number(got.wantStatus(200), "created") != 1 {
		t.Errorf("the import is %s", got.body)
	}
}

// The channel of an API inbox is a web chat, which accepts conversations and cannot change its chatbot.
func TestAPIInboxesHaveAWebChat(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	admin.post("/api/chatbots/", object{"name": "Support", "slug": "support"})
	tried := 0
	for _, inbox := range objects(admin.get("/api/inboxes/"), "results") {
		if inbox["channelType"] != "api" {
			continue
		}
		tried++
		channel := text(inbox["channel"].(object), "id")
		created := admin.post("/api/conversations/", object{"web_chat": channel})
		if got := created["inbox"].(object)["id"]; got != inbox["id"] {
			t.Errorf("the conversation is in the inbox %v, want %v", got, inbox["id"])
		}
		path := "/api/web-chats/" + channel + "/"
		if webChat := admin.get(path); webChat["accessType"] != "api" || webChat["inbox"] != inbox["id"] {
			t.Errorf("the web chat is %v", webChat)
		}
		other := "support"
		if created["chatbot"].(object)["name"] == "Support" {
			other = "parley"
		}
		admin.call(http.MethodPatch, path, object{"chatbot": other}).wantProblem(409, "conflict", "")
	}
	if tried != 2 {
		t.Errorf("%d inboxes have the type api, want 2", tried)
	}
}

// Chatbots, web chats and contacts that are moved to Parley keep their IDs.
func TestAdminsMayChooseIDsOfNewObjects(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin, manager := o.as("admin", auth.Admin), o.as("manager", auth.Manage)
	for _, path := range []string{"/api/chatbots/", "/api/web-chats/", "/api/contacts/"} {
		id := uuid.NewString() // version 4
		body := object{"name": "Moved", "id": strings.ToUpper(id)}
		manager.call(http.MethodPost, path, body).wantProblem(403, "forbidden", "")
		if made := admin.post(path, body); made["id"] != id || admin.get(path + id + "/")["name"] != "Moved" {
			t.Errorf("%s: %v", path, made)
		}
		admin.call(http.MethodPost, path, body).wantProblem(409, "conflict", "")
		for _, invalid := range []string{uuid.Nil.String(), "x", "{" + id + "}"} {
			admin.call(http.MethodPost, path, object{"name": "Moved", "id": invalid}).wantProblem(400, "invalid_request", "/id")
		}
		manager.post(path, object{"name": "New", "id": nil})
	}
}

// An API key of another service is accepted after it was imported, with or without its prefix.
func TestImportedKeysAreAccepted(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	for _, key := range []string{"8kQw2Zt5Yp7Lm3Xc9Vb4Nd6Fh1Jr0Ge", "Ab3dEf9h.8kQw2Zt5Yp7Lm3Xc9Vb4Nd6Fh1Jr0Ge", "sk-a/b+c=~!8kQw2Zt5Yp7Lm3Xc9Vb4N"} {
		body := object{"name": "Old", "user": "line-bot", "key": key}
		made := admin.post("/api/api-keys/", body)
		if made["key"] != key || strings.Contains(text(made, "prefix"), "8kQw2Zt5") {
			t.Errorf("%s: %v", key, made)
		}
		admin.call(http.MethodPost, "/api/api-keys/", body).wantProblem(409, "conflict", "")
		for _, scheme := range []string{"Api-Key ", "Bearer "} {
			if me := admin.call(http.MethodGet, "/api/me/", nil, withHeader("Authorization", scheme+key)).wantStatus(200); me["name"] != "line-bot" {
				t.Errorf("%s%s: %v", scheme, key, me)
			}
			admin.call(http.MethodGet, "/api/me/", nil, withHeader("Authorization", scheme+key+"x")).wantProblem(401, "unauthorized", "")
			admin.call(http.MethodGet, "/api/me/", nil, withHeader("Authorization", scheme+text(made, "prefix"))).wantProblem(401, "unauthorized", "")
		}
		admin.remove("/api/api-keys/" + text(made, "id") + "/")
		admin.call(http.MethodGet, "/api/me/", nil, withHeader("Authorization", "Api-Key "+key)).wantProblem(401, "unauthorized", "")
	}
	for _, weak := range []string{strings.Repeat("ab", 20), "8kQw2Zt5Yp7Lm3Xc9Vb4Nd6Fh1Jr0Ge.short", ".8kQw2Zt5Yp7Lm3Xc9Vb4Nd6Fh1Jr0Ge", "8kQw2Zt5Yp7Lm3Xc9Vb4Nd6Fh1 r0Ge", "imported_8kQw2Zt5Yp7Lm3Xc9Vb4Nd6Fh1Jr0Ge", "pct_8kQw2Zt5Yp7Lm3Xc9Vb4Nd6Fh1Jr0Ge"} {
		admin.call(http.MethodPost, "/api/api-keys/", object{"name": "Old", "key": weak}).wantProblem(400, "invalid_request", "/key")
	}
}
