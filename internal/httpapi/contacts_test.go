package httpapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"parley/internal/auth"
)

const contacts = "/api/contacts/"

// inboxIDs returns the IDs of the inboxes by the names of their channels.
func (c caller) inboxIDs() map[string]string {
	c.t.Helper()
	all := map[string]string{}
	for _, inbox := range objects(c.get("/api/inboxes/"), "results") {
		all[text(inbox["channel"].(object), "name")] = text(inbox, "id")
	}
	return all
}

// A contact is returned with the fields of its creation and its last update. Omitted fields are empty, and the inbox
// is the default bot's.
func TestContactsReturnTheFieldsTheyWereCreatedWith(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	manager := o.as("manager", auth.Manage)
	inboxes := manager.inboxIDs()
	made := manager.post(contacts, object{"name": "Alex"})
	want := []string{"avatar", "createdAt", "email", "id", "inboxes", "name", "phoneNumber", "queryMetadata", "sourceId"}
	if fields := slices.Sorted(maps.Keys(made)); !slices.Equal(fields, want) {
		t.Errorf("the fields are %v", fields)
	}
	if made["name"] != "Alex" || made["avatar"] != nil || made["email"] != "" || made["phoneNumber"] != nil || made["sourceId"] != nil || made["queryMetadata"] != nil ||
		!equalJSON(made["inboxes"], []any{object{"id": inboxes["Parley"], "name": "Parley"}}) {
		t.Errorf("%v, the inboxes are %v", made, inboxes)
	}
	path := contacts + text(made, "id") + "/"
	whole := object{
		"name": "Alexandra", "avatar": "https://files.example.com/a.png", "email": "a@example.com", "phoneNumber": "+886 2 1234", "sourceId": "line-1",
		"inboxes": []any{inboxes["Website"], inboxes["Website"]}, "queryMetadata": object{"tier_name": "gold", "Tier": []any{"x"}},
	}
	changed := manager.patch(path, whole)
	whole["inboxes"] = []any{object{"id": inboxes["Website"], "name": "Website"}}
	for field, value := range whole {
		if !equalJSON(changed[field], value) {
			t.Errorf("%s is %v, want %v", field, changed[field], value)
		}
	}
	if again := manager.patch(path, object{}); !equalJSON(again, changed) {
		t.Errorf("an empty PATCH changed it to %v", again)
	}
	if shown := o.as("staff", auth.Agent).get(path); !equalJSON(shown, changed) || shown["createdAt"] != made["createdAt"] || shown["id"] != made["id"] {
		t.Errorf("the contact is %v, created as %v", shown, made)
	}
	full := manager.post(contacts, object{
		"name": "Full", "avatar": "x", "email": "e", "phoneNumber": "p", "sourceId": "s", "inboxes": []string{inboxes["Website"], inboxes["Parley"]}, "queryMetadata": object{"a": json.Number("1e400")},
	})
	if len(full["inboxes"].([]any)) != 2 || full["avatar"] != "x" || full["email"] != "e" || full["phoneNumber"] != "p" || full["sourceId"] != "s" {
		t.Errorf("%v", full)
	}
	manager.call(http.MethodPost, contacts, object{"name": "X", "queryMetadata": object{"knowledge_bases": 7}}).wantProblem(400, "invalid_request", "/queryMetadata/knowledge_bases")
	manager.call(http.MethodPatch, path, object{"queryMetadata": object{"label_relations": 7}}).wantProblem(400, "invalid_request", "/queryMetadata/label_relations")
}

// A source ID is unique in an inbox. A rejected creation or update stores nothing.
func TestSourceIDsAreUniqueInAnInbox(t *testing.T) {
	t.Parallel()
	manager := serve(t).organization().as("manager", auth.Manage)
	inboxes := manager.inboxIDs()
	api, web := inboxes["Parley"], inboxes["Website"]
	manager.post(contacts, object{"name": "One", "sourceId": "x", "inboxes": []string{api}})
	manager.call(http.MethodPost, contacts, object{"name": "Two", "sourceId": "x"}).wantProblem(409, "conflict", "")
	manager.call(http.MethodPost, contacts, object{"name": "Two", "sourceId": "x", "inboxes": []string{web, api}}).wantProblem(409, "conflict", "")
	other := manager.post(contacts, object{"name": "Two", "sourceId": "x", "inboxes": []string{web}})
	third := manager.post(contacts, object{"name": "Three", "sourceId": "y", "inboxes": []string{api}})
	path := contacts + text(third, "id") + "/"
	manager.call(http.MethodPatch, path, object{"sourceId": "x", "name": "Lost"}).wantProblem(409, "conflict", "")
	manager.call(http.MethodPatch, contacts+text(other, "id")+"/", object{"inboxes": []string{api}, "name": "Lost"}).wantProblem(409, "conflict", "")
	manager.call(http.MethodPatch, path, object{"inboxes": []string{api, unknownIDs()["inboxes"]}, "name": "Lost"}).wantProblem(404, "not_found", "")
	manager.call(http.MethodPatch, path, object{"inboxes": []string{"x"}}).wantProblem(404, "not_found", "")
	for _, unknown := range []string{unknownIDs()["inboxes"], "x", ""} {
		manager.call(http.MethodPost, contacts, object{"name": "Lost", "inboxes": []string{api, unknown}}).wantProblem(404, "not_found", "")
	}
	if got := manager.get(path); !equalJSON(got, third) {
		t.Errorf("a rejected request changed %v to %v", third, got)
	}
	if n := number(manager.get(contacts), "count"); n != 3 {
		t.Errorf("there are %d contacts", n)
	}
	// A source ID can be used again after it was released.
	manager.patch(path, object{"sourceId": "z"})
	manager.patch(path, object{"sourceId": "x", "inboxes": []string{manager.createShopInbox()}})
}

// createShopInbox creates another web chat and returns its inbox.
func (c caller) createShopInbox() string {
	c.t.Helper()
	return text(c.post("/api/web-chats/", object{"name": "Shop"}), "inbox")
}

// The list is paged by number, newest first. It is searched by name and source ID, ignoring case, and the keyword is
// not a pattern.
func TestContactsAreListedAndSearched(t *testing.T) {
	t.Parallel()
	manager := serve(t).organization().as("manager", auth.Manage)
	var newest []string
	for i, name := range []string{"Alex", "ALEXANDRA", "Bob 100%", "under_score", "王小明"} {
		made := manager.post(contacts, object{"name": name, "sourceId": fmt.Sprintf("Line-%d", i)})
		newest = append([]string{text(made, "id")}, newest...)
	}
	for query, want := range map[string][]string{
		"":                               newest,
		"query=alex":                     {newest[3], newest[4]},
		"query=lINE-":                    newest,
		"query=line-3":                   {newest[1]},
		"query=%25":                      {newest[2]},
		"query=_":                        {newest[1]},
		"query=" + url.QueryEscape("小明"): {newest[0]},
		"query=nobody":                   nil,
		"pageSize=2":                     newest[:2],
		"pageSize=2&page=3":              newest[4:],
		"pageSize=1&page=2&query=alex":   {newest[4]},
	} {
		got := manager.get(contacts + "?" + query)
		if ids := idsOf(objects(got, "results")); !slices.Equal(ids, want) {
			t.Errorf("%s: %v, want %v", query, ids, want)
		}
	}
	page := manager.get(contacts + "?query=line&pageSize=2&page=2")
	for link, want := range map[string][]string{"next": newest[4:], "previous": newest[:2]} {
		if got := idsOf(objects(manager.get(text(page, link)), "results")); !slices.Equal(got, want) || number(page, "count") != 5 {
			t.Errorf("%s: %v, want %v", link, got, want)
		}
	}
	for _, query := range []string{"page=2", "pageSize=5&page=2", "page=2&query=nobody"} {
		manager.call(http.MethodGet, contacts+"?"+query, nil).wantProblem(404, "not_found", "")
	}
}

// Deleting a contact deletes its conversations and no others.
func TestDeletingAContactDeletesItsConversations(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	contact := text(admin.post(contacts, object{"name": "Alex"}), "id")
	path := contacts + contact + "/"
	conversation := text(admin.post("/api/conversations/", object{"webChat": o.webChat.ID, "contact": contact}), "id")
	kept := admin.startConversation()
	answered := admin.ask(conversation, question)
	admin.ask(kept, question)
	admin.remove(path)
	for _, gone := range []string{
		path, "/api/conversations/" + conversation + "/", "/api/conversations/" + conversation + "/history",
		"/api/messages/" + text(answered, "message_id") + "/", "/api/runs/" + text(answered, "run_id") + "/",
	} {
		admin.call(http.MethodGet, gone, nil).wantProblem(404, "not_found", "")
	}
	admin.call(http.MethodDelete, path, nil).wantProblem(404, "not_found", "")
	if got := admin.listInbox(""); !slices.Equal(got, []string{kept}) || len(admin.history(kept)) != 2 {
		t.Errorf("the remaining conversations are %v", got)
	}
	if n := number(admin.listRecords(""), "count"); n != 1 {
		t.Errorf("%d records remain", n)
	}
}

// Each chatbot and each web chat has an inbox. Inboxes are listed newest first, with their number of unread
// conversations.
func TestChatbotsAndWebChatsHaveInboxes(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	shop := admin.post("/api/web-chats/", object{"name": "Shop"})
	admin.post("/api/chatbots/", object{"name": "Another"})
	for range 2 {
		admin.sendMessage(text(admin.post("/api/conversations/", object{"webChat": shop["id"]}), "id"), "Hi")
	}
	list := objects(o.as("staff", auth.Agent).get("/api/inboxes/"), "results")
	var got []string
	for _, inbox := range list {
		if inbox["channelType"] == "api" && inbox["channel"].(object)["id"] != inbox["id"] {
			t.Errorf("the web chat of an API inbox is %v, want one with the ID of the inbox", inbox)
		}
		channel := inbox["channel"].(object)
		got = append(got, fmt.Sprint(channel["name"], " ", channel["id"], " ", inbox["channelType"], " ", inbox["unreadConversationsCount"]))
	}
	want := []string{
		fmt.Sprint("Another ", list[0]["id"], " api 0"), fmt.Sprint("Shop ", shop["id"], " web 2"),
		fmt.Sprint("Website ", o.webChat.ID, " web 0"), fmt.Sprint("Parley ", list[3]["id"], " api 0"),
	}
	if !slices.Equal(got, want) || list[1]["id"] != shop["inbox"] {
		t.Errorf("%v, want %v", got, want)
	}
	page := admin.get("/api/inboxes/?pageSize=3&page=2")
	if number(page, "count") != 4 || len(objects(page, "results")) != 1 || page["next"] != nil || page["previous"] == nil {
		t.Errorf("%v", page)
	}
	admin.call(http.MethodGet, "/api/inboxes/?pageSize=2&page=3", nil).wantProblem(404, "not_found", "")
}

// After its contact is deleted, a message remains in the conversation, without a sender.
func TestMessageOfDeletedContactHasNoSender(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, manager := o.as("alice", auth.Chat), o.as("manager", auth.Manage)
	contact := text(manager.post(contacts, object{"name": "Kim"}), "id")
	conversation := alice.startConversation()
	alice.call(http.MethodPost, completions, object{"conversation": conversation, "message": object{"content": question, "sender": contact}}).wantStatus(http.StatusOK)
	sent := text(alice.history(conversation)[0], "id")
	if sender, _ := alice.get("/api/messages/" + sent + "/")["sender"].(object); sender["id"] != contact || sender["name"] != "Kim" {
		t.Errorf("the sender is %v", sender)
	}
	manager.remove(contacts + contact + "/")
	if message := alice.get("/api/messages/" + sent + "/"); message["sender"] != nil || message["content"] != question {
		t.Errorf("after the deletion: %v", message)
	}
}
