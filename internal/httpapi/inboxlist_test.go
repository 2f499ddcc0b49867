package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"parley/internal/auth"
)

const inboxList = "/api/conversations/"

// startUnanswered creates a conversation that no bot answers.
func (c caller) startUnanswered() string {
	c.t.Helper()
	id := c.startConversation()
	c.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	return id
}

// listInbox returns the IDs of the conversations on one page of the inbox list.
func (c caller) listInbox(query string) []string {
	c.t.Helper()
	return idsOf(objects(c.get(inboxList+"?"+query), "results"))
}

// Following next returns each conversation once, in order, and following previous returns them in reverse.
// Conversations that become active meanwhile are never returned twice, and pages ordered by creation miss none.
func TestInboxPagesContainEveryConversationOnce(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, bob, staff := o.as("alice", auth.Chat), o.as("bob", auth.Chat), o.as("staff", auth.Agent)
	var made, bobs []string
	for range 7 {
		made = append(made, alice.startUnanswered())
	}
	bobs = append(bobs, bob.startUnanswered(), bob.startUnanswered())
	for _, i := range []int{3, 0, 5} {
		alice.sendMessage(made[i], "Hi")
	}
	byActivity := []string{made[5], made[0], made[3], made[6], made[4], made[2], made[1]}
	byCreation := slices.Clone(made)
	slices.Reverse(byCreation)
	all := append([]string{bobs[1], bobs[0]}, byCreation...)
	for name, c := range map[string]struct {
		reader caller
		query  string
		want   []string
	}{
		"by activity":        {alice, "pageSize=3", byActivity},
		"by activity, named": {alice, "ordering=lastActivity&pageSize=2", byActivity},
		"by creation":        {alice, "ordering=createdAt&pageSize=3", byCreation},
		"one at a time":      {alice, "pageSize=1", byActivity},
		"on one page":        {alice, "pageSize=7", byActivity},
		"on a longer page":   {alice, "pageSize=100", byActivity},
		"the staff":          {staff, "pageSize=4&ordering=createdAt", all},
		"another":            {bob, "pageSize=1", []string{bobs[1], bobs[0]}},
	} {
		var walked []string
		var last object
		for next := any(inboxList + "?" + c.query); next != nil; {
			last = c.reader.get(next.(string))
			if (last["next"] == nil) != (last["nextCursor"] == nil) || (last["previous"] == nil) != (len(walked) == 0) || (last["previous"] == nil) != (last["previousCursor"] == nil) {
				t.Errorf("%s: %v %v %v %v", name, last["next"], last["nextCursor"], last["previous"], last["previousCursor"])
			}
			walked = append(walked, idsOf(objects(last, "results"))...)
			next = last["next"]
		}
		if !slices.Equal(walked, c.want) {
			t.Errorf("%s: following next returned %v, want %v", name, walked, c.want)
		}
		back := idsOf(objects(last, "results"))
		for previous := last["previous"]; previous != nil; {
			page := c.reader.get(previous.(string))
			back = append(idsOf(objects(page, "results")), back...)
			previous = page["previous"]
		}
		if !slices.Equal(back, c.want) {
			t.Errorf("%s: following previous returned %v, want %v", name, back, c.want)
		}
	}
	// After each page, a conversation becomes active.
	for ordering, missing := range map[string]int{"lastActivity": 2, "createdAt": 0} {
		var walked []string
		for next, i := any(inboxList+"?pageSize=3&ordering="+ordering), 0; next != nil; i++ {
			page := alice.get(next.(string))
			walked = append(walked, idsOf(objects(page, "results"))...)
			if next = page["next"]; i == 0 {
				for _, id := range alice.listInbox("pageSize=2&cursor=" + text(page, "nextCursor") + "&ordering=" + ordering) {
					alice.sendMessage(id, "Hi")
				}
				alice.sendMessage(walked[0], "Hi")
			}
		}
		slices.Sort(walked)
		if once := slices.Compact(slices.Clone(walked)); len(once) != len(walked) || len(walked) != 7-missing {
			t.Errorf("%s: the pages contain %d conversations, %d of them distinct", ordering, len(walked), len(once))
		}
	}
}

// A cursor is valid for its own list and ordering. Elsewhere it is 404.
func TestCursorsOfAnotherOrderAreNotFound(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startUnanswered()
	alice.startConversation()
	alice.sendMessage(id, "One")
	alice.sendMessage(id, "Two")
	active := text(alice.get(inboxList+"?pageSize=1"), "nextCursor")
	created := text(alice.get(inboxList+"?pageSize=1&ordering=createdAt"), "nextCursor")
	message := text(alice.get("/api/messages/?pageSize=1"), "nextCursor")
	for _, query := range []string{"ordering=createdAt&cursor=" + active, "cursor=" + created, "cursor=" + message, "ordering=createdAt&cursor=" + message, "cursor=x", "cursor=bi4x"} {
		alice.call(http.MethodGet, inboxList+"?"+query, nil).wantProblem(404, "not_found", "")
	}
	alice.call(http.MethodGet, "/api/messages/?cursor="+active, nil).wantProblem(404, "not_found", "")
}

// The list is filtered by inbox and keyword. A keyword matches the title, the contact's name and any message,
// ignoring case, and is not a pattern.
func TestInboxListIsFilteredByInboxAndKeyword(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, staff := o.as("Alice Ω", auth.Chat), o.as("staff", auth.Agent)
	titled, said, percent, chinese := alice.startUnanswered(), alice.startUnanswered(), alice.startUnanswered(), alice.startUnanswered()
	alice.patch("/api/conversations/"+titled+"/", object{"title": "Refund Request"})
	alice.sendMessage(said, "My invoice of MARCH")
	alice.sendMessage(percent, "a 100% discount on under_score and back\\slash")
	alice.sendMessage(percent, "and later something else")
	alice.sendMessage(chinese, "請問如何申請退款？")
	web := text(alice.post("/api/conversations/", object{"webChat": o.webChat.ID}), "id")
	bobs := o.as("bob", auth.Chat).startUnanswered()

	webInbox := text(alice.get("/api/conversations/" + web + "/")["inbox"].(object), "id")
	apiInbox := text(alice.get("/api/conversations/" + said + "/")["inbox"].(object), "id")
	for query, want := range map[string][]string{
		"inbox=" + webInbox:                     {web},
		"inbox=" + apiInbox:                     {chinese, percent, said, titled},
		"keyword=refund+REQ":                    {titled},
		"keyword=march":                         {said},
		"keyword=discount":                      {percent},
		"keyword=" + url.QueryEscape("退款"):      {chinese},
		"keyword=" + url.QueryEscape("退"):       {chinese},
		"keyword=" + url.QueryEscape("款退"):      {},
		"keyword=%25":                           {percent},
		"keyword=_":                             {percent},
		"keyword=%5C":                           {percent},
		"keyword=1%25d":                         {},
		"keyword=nothing+of+it":                 {},
		"keyword=" + url.QueryEscape("alice ω"): {web, chinese, percent, said, titled},
		"keyword=alice&inbox=" + webInbox:       {web},
		"keyword=refund&inbox=" + webInbox:      {},
		"keyword=bob":                           {},
	} {
		got := alice.listInbox("ordering=createdAt&" + query)
		if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	if got := staff.listInbox("keyword=bob"); !slices.Equal(got, []string{bobs}) {
		t.Errorf("the staff finds %v", got)
	}
	// The links keep the filters.
	page := alice.get(inboxList + "?pageSize=2&keyword=alice&inbox=" + apiInbox)
	next := alice.get(text(page, "next"))
	if ids := append(idsOf(objects(page, "results")), idsOf(objects(next, "results"))...); len(ids) != 4 || next["next"] != nil || slices.Contains(ids, web) {
		t.Errorf("two pages have %v", ids)
	}
	for _, id := range []string{unknownIDs()["inboxes"], "x", web} {
		alice.call(http.MethodGet, inboxList+"?inbox="+id, nil).wantProblem(404, "not_found", "")
	}
}

// The list returns the same conversations as getConversation, with their newest message and unread count. The staff
// sees those of the organization, and other callers their own.
func TestInboxListReturnsCurrentConversations(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, bob, staff := o.as("alice", auth.Chat), o.as("bob", auth.Chat), o.as("staff", auth.Agent)
	empty, asked := alice.startConversation(), alice.startConversation()
	alice.ask(asked, question)
	bobs := bob.startUnanswered()
	bob.sendMessage(bobs, "One")
	bob.post("/api/messages/", object{"conversation": bobs, "content": "Two", "queryMetadata": object{"a_b": 1}})

	list := objects(staff.get(inboxList), "results")
	if !slices.Equal(idsOf(list), []string{bobs, asked, empty}) {
		t.Fatalf("the staff sees %v", idsOf(list))
	}
	for _, listed := range list {
		if alone := staff.get("/api/conversations/" + text(listed, "id") + "/"); !equalJSON(listed, alone) {
			t.Errorf("the list has %v, getConversation returns %v", listed, alone)
		}
	}
	last := list[0]["lastMessage"].(object)
	if last["content"] != "Two" || last["type"] != "incoming" || number(last, "seq") != 2 || number(list[0], "unreadMessagesCount") != 2 || list[0]["lastMessageCreatedAt"] != last["createdAt"] {
		t.Errorf("%v", list[0])
	}
	if last := list[1]["lastMessage"].(object); last["content"] != longAnswer || last["type"] != "outgoing" || number(list[1], "unreadMessagesCount") != 1 {
		t.Errorf("%v", list[1])
	}
	if list[2]["lastMessage"] != nil || list[2]["lastMessageCreatedAt"] != nil || number(list[2], "unreadMessagesCount") != 0 {
		t.Errorf("%v", list[2])
	}
	// Two conversations of the inbox are unread.
	if got := number(list[0]["inbox"].(object), "unreadConversationsCount"); got != 2 {
		t.Errorf("%d conversations are unread", got)
	}
	for _, c := range []struct {
		who  caller
		want []string
	}{{alice, []string{asked, empty}}, {bob, []string{bobs}}, {o.as("nobody", auth.Chat), nil}} {
		page := c.who.get(inboxList)
		if got := idsOf(objects(page, "results")); fmt.Sprint(got) != fmt.Sprint(c.want) || page["next"] != nil || page["previous"] != nil {
			t.Errorf("%s sees %v", c.who.user, page)
		}
	}
}
