package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

func idsOf(list []object) []string {
	ids := make([]string, len(list))
	for i, item := range list {
		ids[i] = text(item, "id")
	}
	return ids
}

// The list contains the caller's conversations, latest activity first, paged by limit and offset. The total is
// independent of the page.
func TestListIsPagedByLimitAndOffset(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	o.as("bob", auth.Chat).startConversation()
	var newestFirst []string
	for range 103 {
		newestFirst = append([]string{alice.startConversation()}, newestFirst...)
	}
	// Activity moves the oldest conversation to the front.
	alice.ask(newestFirst[102], "Hi")
	newestFirst = append(newestFirst[102:], newestFirst[:102]...)
	for _, page := range []struct {
		query      string
		start, end int
	}{
		{"", 0, 20},
		{"?limit=1", 0, 1},
		{"?limit=100", 0, 100},
		{"?limit=100&offset=100", 100, 103},
		{"?limit=3&offset=101", 101, 103},
		{"?offset=102", 102, 103},
		{"?offset=103", 103, 103},
		{"?offset=1000000", 103, 103},
	} {
		list := alice.get("/api/conversations" + page.query)
		if got := idsOf(objects(list, "conversations")); !slices.Equal(got, newestFirst[page.start:page.end]) || number(list, "total") != 103 {
			t.Errorf("%q returned %d of %v", page.query, len(got), list["total"])
		}
	}
	for _, bad := range []string{"limit=0", "limit=101", "limit=-1", "offset=-1", "offset=1000001"} {
		name, _, _ := strings.Cut(bad, "=")
		alice.call(http.MethodGet, "/api/conversations?"+bad, nil).wantProblem(400, "invalid_request", name)
	}
}

// Filters apply to the list and to its total.
func TestListIsFilteredByChatbotAndStatus(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	other := o.as("manager", auth.Manage).post("/api/chatbots/", object{"name": "Other", "slug": "other"})
	active := alice.startConversation()
	archived := alice.startConversation()
	elsewhere := text(alice.post("/api/conversations/start", object{"bot_id": "other"}), "conversation_id")
	alice.patch("/api/conversations/"+archived+"/", object{"status": "archived"})
	for query, want := range map[string][]string{
		"":                                     {elsewhere, archived, active},
		"?status=active":                       {elsewhere, active},
		"?status=archived":                     {archived},
		"?bot_id=other":                        {elsewhere},
		"?bot_id=" + text(other, "id"):         {elsewhere},
		"?bot_id=parley":                       {archived, active},
		"?bot_id=parley&status=archived":       {archived},
		"?bot_id=other&status=archived":        {},
		"?bot_id=parley&status=active&limit=1": {active},
	} {
		list := alice.get("/api/conversations" + query)
		if got := idsOf(objects(list, "conversations")); !slices.Equal(got, want) || number(list, "total") != len(want) {
			t.Errorf("%q: %v of %v, want %v", query, got, list["total"], want)
		}
	}
	alice.call(http.MethodGet, "/api/conversations?bot_id=nobody", nil).wantProblem(404, "not_found", "")
	// An agent lists their own conversations, too.
	if list := o.as("staff", auth.Agent).get("/api/conversations"); number(list, "total") != 0 {
		t.Errorf("the list of an agent: %v", list)
	}
}

// In lists by page, a page beyond the end is 404, but the first page of an empty list is not. The links lead to the
// adjacent pages.
func TestPagedListsEndAndHaveValidLinks(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	for i := range 4 {
		admin.post("/api/chatbots/", object{"name": fmt.Sprint("Bot ", i)})
		admin.post("/api/web-chats/", object{"name": fmt.Sprint("Web chat ", i)})
		admin.post("/api/api-keys/", object{"name": fmt.Sprint("Key ", i)})
	}
	empty := "/api/chatbots/" + text(admin.post("/api/chatbots/", object{"name": "Empty"}), "id") + "/faqs/"
	if list := admin.get(empty); number(list, "count") != 0 || len(objects(list, "results")) != 0 || list["next"] != nil || list["previous"] != nil {
		t.Errorf("page 1 of an empty list: %v", list)
	}
	admin.call(http.MethodGet, empty+"?page=2", nil).wantProblem(404, "not_found", "")

	for _, path := range []string{"/api/chatbots/", "/api/web-chats/", "/api/api-keys/", "/api/chatbots/parley/faqs/"} {
		all := admin.get(path + "?pageSize=100")
		count := number(all, "count")
		ids := idsOf(objects(all, "results"))
		if len(ids) != count || all["next"] != nil || all["previous"] != nil {
			t.Errorf("%s: %v", path, all)
		}
		// Newest first: IDs begin with the time.
		if !slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) }) {
			t.Errorf("%s is not newest first: %v", path, ids)
		}
		var walked []string
		var pages []string
		for next := any(path + "?pageSize=2"); next != nil; {
			pages = append(pages, next.(string))
			page := admin.get(next.(string))
			if number(page, "count") != count {
				t.Errorf("%s: %v", path, page)
			}
			walked = append(walked, idsOf(objects(page, "results"))...)
			next = page["next"]
		}
		if !slices.Equal(walked, ids) || len(pages) != (count+1)/2 {
			t.Errorf("%s: following next over %d pages returned %v, want %v", path, len(pages), walked, ids)
		}
		var back []string
		for previous := any(pages[len(pages)-1]); previous != nil; {
			page := admin.get(previous.(string))
			back = append(idsOf(objects(page, "results")), back...)
			previous = page["previous"]
		}
		if !slices.Equal(back, ids) {
			t.Errorf("%s: following previous returned %v, want %v", path, back, ids)
		}
		admin.call(http.MethodGet, fmt.Sprintf("%s?pageSize=2&page=%d", path, len(pages)+1), nil).wantProblem(404, "not_found", "")
		admin.call(http.MethodGet, path+"?page=1000000&pageSize=100", nil).wantProblem(404, "not_found", "")
		if page := admin.get(path + "?pageSize=101"); len(objects(page, "results")) != count {
			t.Errorf("%s with a pageSize above the maximum: %v", path, page)
		}
	}
}
