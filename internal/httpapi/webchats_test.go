package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"parley/internal/auth"
)

// A web chat requires only a name. It uses the default bot and has its own inbox.
func TestWebChatRequiresOnlyAName(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	made := admin.post("/api/web-chats/", object{"name": "商店"})
	want := []string{"accessType", "allowedOrigins", "chatbot", "createdAt", "id", "inbox", "name", "updatedAt"}
	if fields := slices.Sorted(maps.Keys(made)); !slices.Equal(fields, want) {
		t.Errorf("the fields are %v", fields)
	}
	if made["accessType"] != "web" || len(made["allowedOrigins"].([]any)) != 0 || made["chatbot"] != o.bot.ID.String() || made["inbox"] == o.webChat.InboxID.String() {
		t.Errorf("%v", made)
	}
	shown := admin.post("/api/conversations/", object{"webChat": made["id"]})
	if inbox := shown["inbox"].(object); inbox["id"] != made["inbox"] || inbox["name"] != "商店" {
		t.Errorf("%v", shown)
	}
	if got := admin.get("/api/web-chats/" + text(made, "id") + "/"); !equalJSON(got, made) {
		t.Errorf("%v", got)
	}
	admin.call(http.MethodPost, "/api/web-chats/", object{"name": "X", "chatbot": "nobody"}).wantProblem(404, "not_found", "")
	sent := []string{"capacitor://localhost", "https://例え.jp/", "null", "HTTPS://*.Example.com:443", "http://localhost:*"}
	stored := []any{"capacitor://localhost", "https://xn--r8jz45g.jp", "null", "https://*.example.com", "http://localhost:*"}
	for _, got := range []object{
		admin.post("/api/web-chats/", object{"name": "X", "allowedOrigins": sent}),
		admin.patch("/api/web-chats/"+text(made, "id")+"/", object{"allowedOrigins": sent}),
	} {
		if !equalJSON(got["allowedOrigins"], stored) {
			t.Errorf("the origins are %v", got["allowedOrigins"])
		}
	}
	for _, bad := range []string{"", "x.example", "https://x.example/path", "https://a.*.example", "wss://x.example", "ftp://x.example", "*", "https://x.example?q"} {
		admin.call(http.MethodPost, "/api/web-chats/", object{"name": "X", "allowedOrigins": []string{bad}}).wantProblem(400, "invalid_request", "/allowedOrigins/0")
	}
}

// A new chatbot of a web chat handles new conversations. Existing ones keep theirs. A PATCH keeps the fields that it
// omits.
func TestWebChatChangesItsChatbotForNewConversations(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	path := "/api/web-chats/" + o.webChat.ID.String() + "/"
	before := admin.post("/api/conversations/", object{"webChat": o.webChat.ID})
	other := admin.post("/api/chatbots/", object{"name": "Other", "slug": "other"})
	origins := []any{"https://a.example", "http://localhost:3000"}
	changed := admin.patch(path, object{"chatbot": "other", "accessType": "api", "allowedOrigins": origins, "name": "Shop"})
	if changed["chatbot"] != other["id"] || changed["accessType"] != "api" || changed["name"] != "Shop" || !equalJSON(changed["allowedOrigins"], origins) || changed["inbox"] != o.webChat.InboxID.String() {
		t.Errorf("%v", changed)
	}
	after := admin.post("/api/conversations/", object{"webChat": o.webChat.ID})
	if after["chatbot"].(object)["id"] != other["id"] || admin.get("/api/conversations/" + text(before, "id") + "/")["chatbot"].(object)["id"] != o.bot.ID.String() {
		t.Errorf("before %v, after %v", before["chatbot"], after["chatbot"])
	}
	same := admin.patch(path, object{})
	if same["updatedAt"] = changed["updatedAt"]; !equalJSON(same, changed) {
		t.Errorf("an empty PATCH returned %v, want %v", same, changed)
	}
	if got := admin.patch(path, object{"allowedOrigins": []string{}}); len(got["allowedOrigins"].([]any)) != 0 {
		t.Errorf("the origins cannot be removed: %v", got)
	}
	admin.remove(path)
	admin.call(http.MethodGet, path, nil).wantProblem(404, "not_found", "")
	admin.call(http.MethodPost, "/api/conversations/", object{"webChat": o.webChat.ID}).wantProblem(404, "not_found", "")
	// Its inbox and conversations are kept.
	if got := admin.get("/api/conversations/" + text(before, "id") + "/")["inbox"].(object)["id"]; got != o.webChat.InboxID.String() {
		t.Errorf("%v", got)
	}
}
