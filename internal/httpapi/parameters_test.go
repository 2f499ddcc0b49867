package httpapi_test

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/internal/auth"
)

// Each camelCase parameter is accepted in snake_case, with the same effect. The camelCase one takes
// precedence.
func TestEachParameterIsAcceptedInSnakeCase(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	tried := 0
	for _, op := range operations {
		for _, parameter := range op.in("query") {
			older := snakeCase(parameter.Name)
			if older == parameter.Name {
				continue
			}
			tried++
			value := url.QueryEscape(cmp.Or(dayParameters[parameter.Name], fmt.Sprint(parameter.Schema.Value.Example)))
			without := strings.NewReplacer(parameter.Name+"="+dayParameters[parameter.Name], "").Replace(op.target(resources, "")) // the required days
			if !strings.Contains(without, "?") {
				without += "?"
			}
			newer := op.send(admin, without+"&"+parameter.Name+"="+value, nil)
			same := op.send(admin, without+"&"+older+"="+value, nil)
			isText := !strings.HasPrefix(newer.header.Get("Content-Type"), "application/vnd")
			if newer.status != 200 || same.status != 200 || isText && !bytes.Equal(newer.body, same.body) {
				t.Errorf("%s: %s gives %d %.300s, %s gives %d %.300s", op.id, parameter.Name, newer.status, newer.body, older, same.status, same.body)
			}
			if err := op.send(admin, without+"&"+older+"=", nil).checkProblem(400, "invalid_request", parameter.Name); err != nil {
				t.Errorf("%s: %s: %v", op.id, older, err)
			}
			if got := op.send(admin, without+"&"+older+"=&"+parameter.Name+"="+value, nil); got.status != 200 {
				t.Errorf("%s: %s beside %s: %d %s", op.id, older, parameter.Name, got.status, got.body)
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d parameters were tested", tried)
	}
}

// A parameter that an operation has in another spelling, and a filter that it lacks, are refused. Ignoring them would
// change the result.
func TestMisspelledFiltersAreRejected(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	tried := 0
	for _, op := range operations {
		if op.method != http.MethodGet || len(op.in("query")) == 0 {
			continue
		}
		unknown := []string{}
		for _, parameter := range op.in("query") {
			name := parameter.Name
			unknown = append(unknown, strings.ToUpper(name), name+"[]", name+"__in")
		}
		unknown = append(unknown, "inbox_ids[]", "bot", "web_chat")
		if !strings.Contains(op.path, "/contacts/{") {
			unknown = append(unknown, "Contact_Id")
		}
		if !strings.Contains(op.path, "/chatbots/{") {
			unknown = append(unknown, "chatbotID")
		}
		if !strings.Contains(op.path, "/conversations/{") {
			unknown = append(unknown, "conversation-id")
		}
		for _, name := range unknown {
			tried++
			path := op.target(resources, url.QueryEscape(name)+"=x")
			if err := op.send(admin, path, nil).checkProblem(400, "invalid_request", name); err != nil {
				t.Errorf("%s: %v", op.id, err)
			}
		}
	}
	if tried < 200 {
		t.Errorf("only %d parameters were tested", tried)
	}
	for path, parameter := range map[string]string{
		"/api/messages/?page=2": "page", "/api/messages/?offset=20": "offset", "/api/conversations/?page=2": "page", "/api/conversations?botId=parley": "botId",
	} {
		admin.call(http.MethodGet, path, nil).wantProblem(400, "invalid_request", parameter)
	}
	for _, path := range []string{"/api/chatbots/parley/faqs/?chatbot=parley", "/api/messages/?page=1", "/api/conversations/?offset=0", "/api/messages/?ordering=x"} {
		admin.get(path)
	}
	admin.call(http.MethodGet, "/ws?conversation_id="+resources["conversations"], nil, upgrade).wantProblem(400, "invalid_request", "conversation_id")
	admin.call(http.MethodGet, "/ws?sessionId="+resources["conversations"], nil, upgrade).wantProblem(400, "invalid_request", "sessionId")
}

// Lists can be filtered by conversation under each name of the parameter.
func TestConversationFilterIsAcceptedUnderEachName(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id, other := alice.startUnanswered(), alice.startUnanswered()
	alice.sendMessage(id, "mine")
	alice.sendMessage(other, "other")
	for _, name := range []string{"conversation", "conversation_id", "conversationId"} {
		if found := objects(alice.get("/api/messages/?"+name+"="+id), "results"); len(found) != 1 || found[0]["content"] != "mine" {
			t.Errorf("%s: %v", name, found)
		}
		body := object{name: id, "message": object{"content": "Hi"}}
		if reply := alice.call(http.MethodPost, completions, body).wantStatus(200); reply["conversationId"] != id {
			t.Errorf("a completion with %s is in %v", name, reply["conversationId"])
		}
		if made := alice.post("/api/messages/", object{name: object{"id": id}, "content": "mine"}); made["conversation"] != id {
			t.Errorf("a message with %s is in %v", name, made["conversation"])
		}
		alice.exec("DELETE FROM message_history WHERE session_id = $1 AND seq > 1", id)
	}
}

// Pages by offset return the same results as pages by number, from any offset, and are empty beyond the end.
func TestListsCanBePagedByOffset(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	resources := admin.createResources()
	for i := range 4 {
		admin.post("/api/chatbots/", object{"name": fmt.Sprint("Bot ", i)})
		admin.post(contacts, object{"name": fmt.Sprint("Contact ", i)})
		admin.post("/api/chatbots/"+resources["chatbots"]+"/faqs/", object{"question": fmt.Sprint(i), "answer": "Here."})
		alice := o.as("alice", auth.Chat)
		alice.call(http.MethodPost, "/api/chatbots/"+resources["chatbots"]+"/completions/", object{"message": object{"content": "Hi"}}).wantStatus(200)
	}
	tried := 0
	for _, op := range operations {
		if !slices.ContainsFunc(op.in("query"), func(p *openapi3.Parameter) bool { return p.Name == "offset" && op.isPagedByNumber() }) {
			continue
		}
		tried++
		base := op.target(resources, "ordering=x")
		all := objects(admin.get(base+"&pageSize=100"), "results")
		for _, size := range []int{1, 2, 3} {
			for offset := range len(all) + 3 {
				page := admin.get(fmt.Sprintf("%s&limit=%d&offset=%d", base, size, offset))
				want := all[min(offset, len(all)):min(offset+size, len(all))]
				if !slices.Equal(idsOf(objects(page, "results")), idsOf(want)) || number(page, "count") != len(all) {
					t.Errorf("%s: limit %d, offset %d: %v", op.id, size, offset, page)
				}
				if (page["next"] != nil) != (offset+size < len(all)) || (page["previous"] != nil) != (offset > 0) {
					t.Errorf("%s: the links of the page of %d at offset %d of %d: %v, %v", op.id, size, offset, len(all), page["next"], page["previous"])
				}
				if page["next"] != nil {
					next := admin.get(page["next"].(string))
					if got := idsOf(objects(next, "results")); got[0] != all[offset+size]["id"] {
						t.Errorf("%s: the page after limit %d, offset %d is %v", op.id, size, offset, got)
					}
				}
			}
		}
		admin.call(http.MethodGet, base+"&page=2&offset=2", nil).wantProblem(400, "invalid_request", "offset")
		if both := admin.get(base + "&page=1&offset=1&page_size=1"); len(all) > 1 && objects(both, "results")[0]["id"] != all[1]["id"] {
			t.Errorf("%s: page 1 and offset 1: %v", op.id, both)
		}
	}
	if tried < 8 {
		t.Errorf("only %d lists were tested", tried)
	}
}

func (op operation) isPagedByNumber() bool {
	return slices.ContainsFunc(op.in("query"), func(p *openapi3.Parameter) bool { return p.Name == "page" })
}

// Values of pageSize above the maximum count as the maximum.
func TestPageSizesAboveTheMaximumAreClamped(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startUnanswered()
	alice.exec(`INSERT INTO message_history (organization_id, session_id, id, seq, sender, content, created_at)
		SELECT s.organization_id, s.id, gen_random_uuid(), n, 'user', 'x', clock_timestamp() + n * interval '1 microsecond'
		FROM sessions s, generate_series(1, 101) n WHERE s.id = $1`, id)
	for _, query := range []string{"pageSize=101", "page_size=1000000", "limit=9223372036854775807", "pageSize=101.0"} {
		if page := alice.get("/api/messages/?conversation=" + id + "&" + query); len(objects(page, "results")) != 100 {
			t.Errorf("%s: %d messages", query, len(objects(page, "results")))
		}
	}
	for _, query := range []string{"pageSize=0", "page_size=-1", "limit=1.5"} {
		alice.call(http.MethodGet, "/api/messages/?"+query, nil).wantProblem(400, "invalid_request", "pageSize")
	}
	// The Conversations family refuses them, as the reference requires.
	alice.call(http.MethodGet, "/api/conversations?limit=101", nil).wantProblem(400, "invalid_request", "limit")
}

// An unencoded + is a space. The error explains how to encode it.
func TestUnencodedPlusInOffsetsIsExplained(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	path := "/api/conversations/" + alice.startUnanswered() + "/history?after=2026-01-15T18:30:00"
	got := alice.call(http.MethodGet, path+"+08:00", nil)
	if detail := text(objects(got.wantProblem(400, "invalid_request", "after"), "errors")[0], "detail"); !strings.Contains(detail, "%2B") {
		t.Errorf("%s", got.body)
	}
	alice.get(path + "%2B08:00")
}

// Contacts can be created and filtered with the field names that MaiAgent's clients use.
func TestContactsAreAcceptedAndFilteredInEachSpelling(t *testing.T) {
	t.Parallel()
	manager := serve(t).organization().as("manager", auth.Manage)
	inboxes := manager.inboxIDs()
	website := inboxes["Website"]
	for i, place := range []object{
		{"inbox": website},
		{"inbox": object{"id": website, "name": "Website"}},
		{"inbox_id": website},
		{"inboxes": []any{website}},
		{"inboxes": []any{object{"id": website}}},
		{"inbox_ids": []any{website}},
	} {
		body := object{
			"phone_number": "+886 2 1234", "source_id": fmt.Sprint("line-", i), "query_metadata": object{"a_b": nil, "aB": 1.50}, "name": "Alex", "email": nil, "avatar": nil,
		}
		for name, value := range place {
			body[name] = value
		}
		made := manager.post(contacts, body)
		if made["phoneNumber"] != "+886 2 1234" || made["sourceId"] != body["source_id"] || !equalJSON(made["queryMetadata"], decode(t, `{"a_b":null,"aB":1.5}`)) ||
			!equalJSON(made["inboxes"], []any{object{"id": website, "name": "Website"}}) {
			t.Errorf("%v: %v", place, made)
		}
	}
	manager.post(contacts, object{"name": "Elsewhere"})
	for query, want := range map[string]int{
		"inbox=" + website: 6, "inboxes=" + website: 6, "inbox_id=" + website: 6, "inbox=" + inboxes["Parley"]: 1, "search=line-3": 1, "keyword=ALEX&inboxId=" + website: 6, "search=alex&inbox=" + inboxes["Parley"]: 0,
	} {
		if found := manager.get(contacts + "?" + query); number(found, "count") != want || len(objects(found, "results")) != want {
			t.Errorf("%s: %v, want %d", query, found, want)
		}
	}
	manager.call(http.MethodGet, contacts+"?inbox="+unknownIDs()["inboxes"], nil).wantProblem(404, "not_found", "")
	id := manager.as("alice", auth.Chat).startConversation()
	if changed := manager.as("staff", auth.Agent).patch("/api/conversations/"+id+"/", object{"auto_reply_enabled": false}); changed["autoReplyEnabled"] != false {
		t.Errorf("%v", changed)
	}
}

// An ID and an object with the ID are equivalent wherever the document declares both.
func TestIDsAndObjectsWithTheIDAreInterchangeable(t *testing.T) {
	t.Parallel()
	tried := 0
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	for _, op := range operations {
		for _, place := range op.idPlaces() {
			if !strings.HasPrefix(place.name, "body ") || strings.HasSuffix(op.path, "/start") || op.id == "batchConversations" || strings.HasPrefix(op.path, "/v1") || op.deletes() {
				continue
			}
			tried++
			pointer := strings.TrimPrefix(place.name, "body ")
			path, plain := place.put(resources, resources[place.kind])
			asObject, asID := clone(plain).(object), clone(plain).(object)
			if parent, isItem := strings.CutSuffix(pointer, "/0/id"); isItem {
				setAt(asID, parent+"/0", resources[place.kind])
			} else {
				setAt(asObject, pointer, object{"name": "A", "id": resources[place.kind], "more": nil})
			}
			for name, body := range map[string]object{"id": asID, "object": asObject} {
				if got := admin.call(op.method, path, body); got.status >= 300 {
					t.Errorf("%s: %s as an %s: %d %s", op.id, pointer, name, got.status, got.body)
				}
			}
			wrong := clone(asObject).(object)
			setAt(wrong, strings.TrimSuffix(pointer, "/id"), object{"id": 7})
			got := admin.call(op.method, path, wrong)
			if got.status != 400 || !strings.Contains(string(got.body), `"pointer":"`+strings.TrimSuffix(pointer, "/id")) {
				t.Errorf("%s: %s with another id: %d %s", op.id, pointer, got.status, got.body)
			}
		}
	}
	if tried < 12 {
		t.Errorf("only %d places were tested", tried)
	}
}
