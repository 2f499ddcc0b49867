package httpapi_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"parley/internal/auth"
)

// Following next returns every message once, newest first, and following previous returns them in reverse. Messages
// that arrive meanwhile cause neither duplicates nor gaps, and are returned on the way back.
func TestCursorPagesContainEveryMessageOnce(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, staff := o.as("alice", auth.Chat), o.as("staff", auth.Agent)
	var conversations []string
	for range 3 {
		id := alice.startConversation()
		alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
		conversations = append(conversations, id)
	}
	said := 0
	say := func() {
		alice.sendMessage(conversations[said%3], fmt.Sprint("message ", said))
		said++
	}
	for range 31 {
		say()
	}
	for name, path := range map[string]string{
		"one conversation": "/api/messages/?pageSize=3&conversation=" + conversations[0],
		"all of one's own": "/api/messages/?pageSize=7",
		"the staff's":      "/api/messages/?pageSize=4",
	} {
		reader := alice
		if name == "the staff's" {
			reader = staff
		}
		var want []string
		for next := any(path); next != nil; {
			page := reader.get(next.(string))
			want = append(want, idsOf(objects(page, "results"))...)
			next = page["next"]
		}
		if len(want) < 10 {
			t.Errorf("%s: only %d messages", name, len(want))
		}
		// Follow next, with a new message after each page.
		var walked []string
		var last object
		pages := 0
		for next := any(path); next != nil; pages++ {
			last = reader.get(next.(string))
			walked = append(walked, idsOf(objects(last, "results"))...)
			if pages == 0 && last["previous"] != nil {
				t.Errorf("%s: the first page has a previous one", name)
			}
			if next = last["next"]; (next == nil) != (last["nextCursor"] == nil) {
				t.Errorf("%s: next is %v, nextCursor %v", name, next, last["nextCursor"])
			}
			say()
		}
		if !slices.Equal(walked, want) {
			t.Errorf("%s: following next returned %d messages, want %d", name, len(walked), len(want))
		}
		// Follow previous: it returns the same messages, and then those that arrived meanwhile.
		back := idsOf(objects(last, "results"))
		for previous := last["previous"]; previous != nil; {
			page := reader.get(previous.(string))
			back = append(idsOf(objects(page, "results")), back...)
			previous = page["previous"]
		}
		if len(back) <= len(want) || !slices.Equal(back[len(back)-len(want):], want) {
			t.Errorf("%s: following previous returned %d messages, %d of them were there at first", name, len(back), len(want))
		}
		if len(slices.Compact(slices.Sorted(slices.Values(back)))) != len(back) {
			t.Errorf("%s: following previous returned a message twice", name)
		}
	}
}

// A page that contains exactly the remaining entries is the last one, in both directions.
func TestLastPageHasNoNextCursor(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	for i := range 4 {
		alice.sendMessage(id, fmt.Sprint(i))
	}
	for _, filter := range []string{"", "&conversation=" + id} {
		first := alice.get("/api/messages/?pageSize=2" + filter)
		second := alice.get(first["next"].(string))
		if second["next"] != nil || second["previous"] == nil || first["previous"] != nil {
			t.Errorf("%q: first %v %v, second %v %v", filter, first["previous"], first["next"], second["previous"], second["next"])
		}
		again := alice.get(second["previous"].(string))
		if !slices.Equal(idsOf(objects(again, "results")), idsOf(objects(first, "results"))) || again["previous"] != nil || again["next"] == nil {
			t.Errorf("%q: the first page, by following previous: %v", filter, again)
		}
		if whole := alice.get("/api/messages/?pageSize=4" + filter); whole["next"] != nil || whole["previous"] != nil || len(objects(whole, "results")) != 4 {
			t.Errorf("%q: all on one page: %v", filter, whole)
		}
	}
	if empty := alice.get("/api/messages/?conversation=" + alice.startConversation()); len(objects(empty, "results")) != 0 || empty["next"] != nil || empty["previous"] != nil {
		t.Errorf("an empty list: %v", empty)
	}
}

// An unknown cursor is 404, and so is a cursor of another kind of list.
func TestInvalidCursorsAreNotFound(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	for i := range 3 {
		alice.sendMessage(id, fmt.Sprint(i))
	}
	ofOne := alice.get("/api/messages/?pageSize=1&conversation=" + id)
	ofAll := alice.get("/api/messages/?pageSize=1")
	alice.call(http.MethodGet, "/api/messages/?cursor="+text(ofOne, "nextCursor"), nil).wantProblem(404, "not_found", "")
	alice.call(http.MethodGet, "/api/messages/?conversation="+id+"&cursor="+text(ofAll, "nextCursor"), nil).wantProblem(404, "not_found", "")
	for _, plain := range []string{
		"", "x", "n", "n.", "n.0", "n.-1", "n.x", "x.1", "n.1.", "n.9223372036854775808", "n.1.x", "n.1.2.3", "p.0.00000000-0000-0000-0000-000000000000",
		"n.9223372036854775807.00000000-0000-0000-0000-000000000000", "\x00", "\xff", "n.１", "n. 1",
	} {
		for _, filter := range []string{"", "&conversation=" + id} {
			for _, cursor := range []string{base64.RawURLEncoding.EncodeToString([]byte(plain)), plain} {
				if cursor == "" {
					continue
				}
				status, code := 404, "not_found"
				if cursor == "\x00" || cursor == "\xff" {
					status, code = 400, "invalid_request"
				}
				got := alice.call(http.MethodGet, "/api/messages/?cursor="+url.QueryEscape(cursor)+filter, nil)
				if err := got.checkProblem(status, code, ""); err != nil {
					t.Errorf("%q: %v", plain, err)
				}
			}
		}
	}
}
