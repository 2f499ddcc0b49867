package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

// conversationOf starts a conversation of a contact through a web chat, and asks something in it.
func (c caller) conversationOf(contact, webChat, content string) string {
	c.t.Helper()
	id := text(c.post("/api/conversations/", object{"webChat": webChat, "contact": contact}), "id")
	if content != "" {
		c.ask(id, content)
	}
	return id
}

// The conversations of a contact are those of all users, latest activity first, with or without the trailing slash.
func TestConversationsOfAContactAreListed(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin, alice := o.as("admin", auth.Admin), o.as("alice", auth.Chat)
	shop := admin.post("/api/web-chats/", object{"name": "Shop"})
	alex, kim := text(admin.post(contacts, object{"name": "Alex"}), "id"), text(admin.post(contacts, object{"name": "Kim"}), "id")
	website := o.webChat.ID.String()
	path := contacts + alex + "/conversations"
	if empty := admin.get(path); number(empty, "count") != 0 || len(objects(empty, "results")) != 0 {
		t.Errorf("before the first conversation: %v", empty)
	}
	admin.call(http.MethodGet, path+"/latest", nil).wantProblem(404, "not_found", "")

	silent := alice.conversationOf(alex, website, "")
	inShop := admin.conversationOf(alex, text(shop, "id"), "Where is my 100% cotton shirt?")
	newest := alice.conversationOf(alex, website, "Refund, please")
	admin.conversationOf(kim, website, "Refund, please")
	agent := o.as("agent", auth.Agent)
	for query, want := range map[string][]string{
		"":                                {newest, inShop, silent},
		"?keyword=REFUND":                 {newest},
		"?search=100%25+cotton":           {inShop},
		"?keyword=nothing":                nil,
		"?inboxes=" + text(shop, "inbox"): {inShop},
		"?inbox_id=" + text(shop, "inbox") + "&keyword=refund": nil,
		"?pageSize=2":           {newest, inShop},
		"?page_size=2&page=2":   {silent},
		"?limit=1&offset=1":     {inShop},
		"?limit=2&offset=2":     {silent},
		"?pageSize=3&offset=3":  nil,
		"/?pageSize=1&offset=1": {inShop},
	} {
		if got := idsOf(objects(agent.get(path+query), "results")); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	for _, latest := range []string{"/api/v1" + strings.TrimPrefix(path, "/api") + "/latest", path + "/latest/"} {
		got := agent.get(latest)
		if got["id"] != newest || got["lastMessage"] == nil {
			t.Errorf("%s: %v", latest, got)
		}
	}
	page := agent.get("/api/v1/contacts/" + alex + "/conversations?limit=1")
	if next := text(page, "next"); number(page, "count") != 3 || !strings.Contains(next, "/api/v1/contacts/") || idsOf(objects(agent.get(next), "results"))[0] != inShop {
		t.Errorf("the first page is %v", page)
	}
	agent.call(http.MethodGet, path+"?page=2", nil).wantProblem(404, "not_found", "")
	agent.call(http.MethodGet, path+"?inbox="+unknownIDs()["inboxes"], nil).wantProblem(404, "not_found", "")
	agent.call(http.MethodGet, path+"?chatbot=parley", nil).wantProblem(400, "invalid_request", "chatbot")
	alice.call(http.MethodGet, path, nil).wantProblem(403, "forbidden", "")
}

// Long messages end a page early. Its next link leads to the rest, so that no conversation is lost.
func TestLongMessagesEndAPageOfConversationsEarly(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	alex := text(admin.post(contacts, object{"name": "Alex"}), "id")
	var want []string
	for i := range 7 {
		id := text(admin.post("/api/conversations/", object{"webChat": o.webChat.ID, "contact": alex}), "id")
		admin.post("/api/messages/outgoing", object{"conversation": id, "content": fmt.Sprint(i), "content_payload": object{"a": strings.Repeat("x", 900_000)}})
		want = append([]string{id}, want...)
	}
	var got []string
	pages := 0
	for next := contacts + alex + "/conversations/?pageSize=7"; next != ""; pages++ {
		page := admin.get(next)
		got = append(got, idsOf(objects(page, "results"))...)
		if next, _ = page["next"].(string); number(page, "count") != 7 {
			t.Errorf("the count is %v", page["count"])
		}
	}
	if !slices.Equal(got, want) || pages < 2 {
		t.Errorf("%d pages have %v, want %v", pages, got, want)
	}
}

// An outgoing message is one of the staff, is not answered, and is sent once for an idempotency key.
func TestOutgoingMessagesAreFromTheStaff(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, agent := o.as("alice", auth.Chat), o.as("agent", auth.Agent)
	id := alice.startConversation()
	body := object{"conversation_id": id, "content": "I take over.", "query_metadata": object{"tier": "gold"}, "attachments": []object{{"file": "https://files.example.com/a.png"}}}
	var first object
	for range 2 {
		sent := agent.post("/api/v1/messages/outgoing/", body, withHeader("Idempotency-Key", "k"))
		if first == nil {
			first = sent
		}
		if sent["type"] != "outgoing" || sent["runId"] != nil || sent["id"] != first["id"] || sent["sender"].(object)["name"] != "agent" || !equalJSON(sent["queryMetadata"], object{"tier": "gold"}) {
			t.Errorf("sent was %v", sent)
		}
	}
	if got := alice.history(id); len(got) != 1 || got[0]["sender"] != "agent" {
		t.Errorf("the history is %v", got)
	}
	alice.call(http.MethodPost, "/api/messages/outgoing/", body).wantProblem(403, "forbidden", "")
	known := objects(first, "attachments")[0]["id"]
	again := agent.post("/api/messages/outgoing/", object{"conversation": object{"id": id}, "attachments": []any{known}})
	if got := objects(again, "attachments"); len(got) != 1 || got[0]["id"] != known {
		t.Errorf("the attachment named by its id is %v", got)
	}
}

// An inbox is returned by its id as it is listed.
func TestAnInboxIsReturnedAsItIsListed(t *testing.T) {
	t.Parallel()
	agent := serve(t).organization().as("agent", auth.Agent)
	for _, listed := range objects(agent.get("/api/inboxes/"), "results") {
		if got := agent.get("/api/v1/inboxes/" + text(listed, "id")); !equalJSON(got, listed) {
			t.Errorf("the inbox is %v, listed as %v", got, listed)
		}
	}
}

// FAQs can be created by a chatbot in the body, and several are deleted together or not at all.
func TestFAQsAreCreatedByBodyAndDeletedTogether(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	other := text(admin.post("/api/chatbots/", object{"name": "Other"}), "id")
	path := "/api/chatbots/" + other + "/faqs/"
	var ids []string
	for i, chatbot := range []any{other, object{"id": other}, "other"} {
		made := admin.post("/api/v1/faqs/", object{"chatbot": chatbot, "question": fmt.Sprint("Where is ", i, "?"), "answer": "<b>Here.</b>", "labels": []string{"a"}})
		if made["answer"] != "Here." || !equalJSON(made["labels"], []any{"a"}) {
			t.Errorf("the FAQ is %v", made)
		}
		ids = append([]string{text(made, "id")}, ids...)
	}
	if got := idsOf(objects(admin.get(path), "results")); !slices.Equal(got, ids) {
		t.Errorf("the FAQs are %v, want %v", got, ids)
	}
	foreign := text(admin.post("/api/faqs/", object{"chatbot_id": "parley", "question": "Who?", "answer": "Me."}), "id")
	for _, unknown := range []string{foreign, unknownIDs()["faqs"], "x"} {
		admin.call(http.MethodPost, path+"batch-delete/", object{"ids": []string{ids[0], unknown}}).wantProblem(404, "not_found", "")
	}
	if got := number(admin.get(path), "count"); got != 3 {
		t.Errorf("%d FAQs are left after refused requests, want 3", got)
	}
	for range 2 {
		got := admin.call(http.MethodPost, "/api/v1"+strings.TrimPrefix(path, "/api")+"batch-delete", object{"ids": []any{ids[0], object{"id": ids[1]}, ids[0]}}, withHeader("Idempotency-Key", "k"))
		got.wantStatus(204)
	}
	if got := idsOf(objects(admin.get(path), "results")); !slices.Equal(got, ids[2:]) {
		t.Errorf("the FAQs that are left are %v", got)
	}
	admin.call(http.MethodPost, path+"batch-delete/", object{"ids": []string{}}).wantProblem(400, "invalid_request", "/ids")
	admin.call(http.MethodPost, path+"batch-delete/", object{"ids": []string{ids[2]}}, withHeader("Idempotency-Key", "k")).wantProblem(422, "unprocessable", "")
	if events := admin.events("action=faq.deleted"); len(events) != 2 {
		t.Errorf("the audit events are %v", events)
	}
}
