package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"parley/internal/auth"
)

// A chatbot requires only a name. It is returned with all fields and a slug derived from the name, and can be asked
// immediately.
func TestChatbotRequiresOnlyAName(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	made := admin.post("/api/chatbots/", object{"name": "Café Größe 7"})
	want := []string{"createdAt", "description", "engine", "greeting", "id", "instructions", "isDefault", "model", "name", "script", "slug", "unanswerableReply", "updatedAt"}
	if fields := slices.Sorted(maps.Keys(made)); !slices.Equal(fields, want) {
		t.Errorf("the fields are %v", fields)
	}
	if made["engine"] != "faq" || made["script"] != nil || made["model"] != nil || made["isDefault"] != false || made["description"] != "" || made["greeting"] != "" || made["unanswerableReply"] == "" {
		t.Errorf("%v", made)
	}
	for _, ref := range []string{text(made, "id"), text(made, "slug")} {
		if got := admin.get("/api/chatbots/" + ref + "/"); !equalJSON(got, made) {
			t.Errorf("%s: %v", ref, got)
		}
		got := admin.call(http.MethodPost, "/api/chatbots/"+ref+"/completions/", object{"message": object{"content": "Hi"}}).wantStatus(200)
		if got["content"] != made["unanswerableReply"] {
			t.Errorf("the reply is %v", got)
		}
	}
	// If the derived slug is taken, or the name has no ASCII letters, another slug is generated.
	slugs := map[string]bool{text(made, "slug"): true}
	for _, name := range []string{"Café Größe 7", "客服", "客服", "🙂", "--", strings.Repeat("x", 200), uuid.NewString()} {
		slug := text(admin.post("/api/chatbots/", object{"name": name}), "slug")
		if slugs[slug] || slug == "" || len(slug) > 63 {
			t.Errorf("%s has the slug %q", name, slug)
		}
		slugs[slug] = true
		if _, err := uuid.Parse(slug); err == nil {
			t.Errorf("%s has the slug %s, which looks like an id", name, slug)
		}
	}
}

// A slug is unique in its organization and never has the form of an ID.
func TestSlugsAreUniqueInAnOrganization(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o := s.organization()
	admin := o.as("admin", auth.Admin)
	made := admin.post("/api/chatbots/", object{"name": "A", "slug": "shop"})
	other := admin.post("/api/chatbots/", object{"name": "B", "slug": "other"})
	admin.call(http.MethodPost, "/api/chatbots/", object{"name": "C", "slug": "shop"}).wantProblem(409, "conflict", "")
	admin.call(http.MethodPatch, "/api/chatbots/other/", object{"slug": "shop"}).wantProblem(409, "conflict", "")
	s.organization().as("elsewhere", auth.Admin).post("/api/chatbots/", object{"name": "A", "slug": "shop"})
	for _, bad := range []string{"", "Shop", "-shop", "shop-", "sh op", "shop_", "sh//op", "店", strings.Repeat("x", 64), text(made, "id")} {
		admin.call(http.MethodPost, "/api/chatbots/", object{"name": "C", "slug": bad}).wantProblem(400, "invalid_request", "/slug")
		admin.call(http.MethodPatch, "/api/chatbots/other/", object{"slug": bad}).wantProblem(400, "invalid_request", "/slug")
	}
	if got := admin.patch("/api/chatbots/other/", object{"slug": strings.Repeat("x", 63)}); got["id"] != other["id"] {
		t.Errorf("%v", got)
	}
	admin.call(http.MethodGet, "/api/chatbots/other/", nil).wantProblem(404, "not_found", "")
	if n := number(admin.get("/api/chatbots/"), "count"); n != 3 {
		t.Errorf("there are %d chatbots", n)
	}
}

// There is always exactly one default bot. Another bot can replace it, but it can neither be unset nor deleted.
func TestOrganizationHasExactlyOneDefaultChatbot(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	first := "/api/chatbots/parley/"
	admin.call(http.MethodDelete, first, nil).wantProblem(409, "conflict", "")
	admin.call(http.MethodPatch, first, object{"isDefault": false}).wantProblem(409, "conflict", "")
	admin.patch(first, object{"isDefault": true})
	second := admin.post("/api/chatbots/", object{"name": "Second", "isDefault": true})
	if admin.get(first)["isDefault"] != false || second["isDefault"] != true {
		t.Error("the new default bot did not replace the old one")
	}
	started := admin.startConversation()
	if got := admin.get("/api/conversations/" + started + "/")["chatbot"].(object)["name"]; got != "Second" {
		t.Errorf("a conversation was created with %v", got)
	}
	if got := admin.patch(first, object{"isDefault": true}); got["isDefault"] != true {
		t.Errorf("%v", got)
	}
	if n := query[int](o.server, "SELECT count(*) FROM bots WHERE is_default"); n != 1 {
		t.Errorf("there are %d default bots", n)
	}
	// Deleting a chatbot deletes its FAQs and conversations.
	admin.remove("/api/chatbots/second/")
	admin.call(http.MethodGet, "/api/conversations/"+started+"/", nil).wantProblem(404, "not_found", "")
	admin.call(http.MethodDelete, "/api/chatbots/second/", nil).wantProblem(404, "not_found", "")
}

// A PATCH keeps the fields that it omits. The bot answers with its new settings immediately.
func TestPatchChangesOnlyTheGivenFieldsOfAChatbot(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	made := admin.post("/api/chatbots/", object{
		"name": "店員", "slug": "clerk", "description": "d", "engine": "faq", "instructions": "i", "greeting": "您好 🙂", "unanswerableReply": "不知道", "isDefault": false,
	})
	for field, value := range map[string]string{"name": "New", "description": "", "instructions": "", "greeting": "", "unanswerableReply": "Still no."} {
		changed := admin.patch("/api/chatbots/clerk/", object{field: value})
		if text(changed, "updatedAt") <= text(made, "updatedAt") || changed["createdAt"] != made["createdAt"] {
			t.Errorf("%s: %v", field, changed)
		}
		made["updatedAt"], made[field] = changed["updatedAt"], value
		if !equalJSON(changed, made) {
			t.Errorf("%s: %v, want %v", field, changed, made)
		}
	}
	got := admin.call(http.MethodPost, "/api/chatbots/clerk/completions/", object{"message": object{"content": "Hi"}}).wantStatus(200)
	if got["content"] != "Still no." {
		t.Errorf("%v", got)
	}
	for _, blank := range []string{"", " ", "\t\n"} {
		admin.call(http.MethodPatch, "/api/chatbots/clerk/", object{"name": blank}).wantProblem(400, "invalid_request", "/name")
	}
}

// Added, changed and deleted FAQs take effect immediately.
func TestNewFAQIsUsedImmediately(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	faqs := "/api/chatbots/parley/faqs/"
	ask := func(content string) any {
		return admin.call(http.MethodPost, completions, object{"message": object{"content": content}}).wantStatus(200)["content"]
	}
	made := admin.post(faqs, object{"question": "營業時間是幾點？", "answer": "<p>上午<b>九點</b>到下午六點&amp;週末休息</p>", "labels": []string{"店", "店", "時間"}})
	want := []string{"answer", "createdAt", "id", "labels", "question", "updatedAt"}
	if fields := slices.Sorted(maps.Keys(made)); !slices.Equal(fields, want) {
		t.Errorf("the fields are %v", fields)
	}
	if made["answer"] != "上午九點到下午六點&週末休息" || len(made["labels"].([]any)) != 2 {
		t.Errorf("%v", made)
	}
	if got := ask("營業時間是幾點？"); got != made["answer"] {
		t.Errorf("%v", got)
	}
	path := faqs + text(made, "id") + "/"
	changed := admin.patch(path, object{"answer": "All day."})
	if changed["question"] != made["question"] || ask("營業時間是幾點？") != "All day." {
		t.Errorf("%v", changed)
	}
	admin.patch(path, object{"question": "Do you ship overseas?"})
	if ask("營業時間是幾點？") == "All day." || ask("Do you ship overseas?") != "All day." {
		t.Error("the changed question is not found")
	}
	if got := admin.patch(path, object{"labels": []string{}}); len(got["labels"].([]any)) != 0 || !equalJSON(got, admin.get(path)) {
		t.Errorf("%v", got)
	}
	admin.remove(path)
	if ask("Do you ship overseas?") != noAnswer {
		t.Error("the deleted FAQ is still found")
	}
	admin.call(http.MethodGet, path, nil).wantProblem(404, "not_found", "")
	// An FAQ can only be reached through its own chatbot.
	admin.post("/api/chatbots/", object{"name": "Other", "slug": "other"})
	id := text(objects(admin.get(faqs), "results")[0], "id")
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		admin.call(method, "/api/chatbots/other/faqs/"+id+"/", nil).wantProblem(404, "not_found", "")
	}
	admin.call(http.MethodPatch, "/api/chatbots/other/faqs/"+id+"/", object{}).wantProblem(404, "not_found", "")
	for _, empty := range []string{"<p></p>", "<!-- nothing -->"} {
		admin.call(http.MethodPost, faqs, object{"question": "Q", "answer": empty}).wantProblem(400, "invalid_request", "/answer")
	}
}
