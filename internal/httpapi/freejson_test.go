package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
)

// equalJSON reports whether two JSON values are equal. 1e5 equals 100000, the order of keys is ignored, their case is
// not, and no number is rounded.
func equalJSON(a, b any) bool {
	switch a := a.(type) {
	case object:
		other, ok := b.(object)
		if !ok || len(a) != len(other) {
			return false
		}
		for key, value := range a {
			if item, ok := other[key]; !ok || !equalJSON(value, item) {
				return false
			}
		}
		return true
	case []any:
		other, ok := b.([]any)
		if !ok || len(a) != len(other) {
			return false
		}
		for i := range a {
			if !equalJSON(a[i], other[i]) {
				return false
			}
		}
		return true
	case json.Number:
		other, ok := b.(json.Number)
		if !ok {
			return false
		}
		x, _ := new(big.Rat).SetString(a.String())
		y, _ := new(big.Rat).SetString(other.String())
		return x != nil && y != nil && x.Cmp(y) == 0
	}
	return a == b
}

func decode(t testing.TB, raw string) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader([]byte(raw)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// Free-form objects are returned equal as JSON, including large numbers, keys in any case and nesting.
func TestFreeObjectsAreReturnedUnchanged(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	for _, free := range []string{
		`{}`, `{"a":{}}`, `{"a":[]}`, `{"a":null}`, `{"":""}`, `{"snake_case":1,"camelCase":2,"Camel-Case":3,"CAMELCASE":4,"camelcase":5}`,
		`{"n":[0,-0,1,1.0,1.50,1e5,100000,1E+2,1e-7,0.1,-1.5e-10,12345678901234567890,123456789012345678901234567890.123456789012345678901234567890,9007199254740993,1e308,1e400,1e-400]}`,
		`{"deep":` + strings.Repeat(`{"x":[`, 40) + `1` + strings.Repeat(`]}`, 40) + `}`,
		`{"text":"請問🙂\"\\\/\b\f\n\r\t\u00e9\ud83d\ude42<>&\u2028"}`, `{"true":true,"false":false,"null":null,"list":[true,"1",1,[],{}]}`,
		`{"time":"2026-01-15T10:30:00Z","id":"019BC0A4-7C10-7F3A-8D55-1B2F6A1C0E01"}`, `{ "spaced" : [ 1 , 2 ] }`, `{"請問":"鍵"}`,
		`{"__proto__":{"a":1},"constructor":2}`,
	} {
		want := decode(t, free)
		sent := alice.post("/api/conversations/"+id+"/messages", `{"content":"Hi","metadata":`+free+`}`)
		history := alice.get(fmt.Sprintf("/api/conversations/%s/history?after_seq=%d", id, number(sent, "seq")-1))
		if got := objects(history, "messages")[0]["metadata"]; !equalJSON(got, want) {
			t.Errorf("metadata %.300s was returned as %.300v", free, got)
		}
		made := alice.post("/api/messages/", `{"conversation":"`+id+`","contentPayload":`+free+`,"queryMetadata":`+free+`}`)
		shown := alice.get("/api/messages/" + text(made, "id") + "/")
		last := alice.get("/api/conversations/" + id + "/")["lastMessage"].(object)
		for _, field := range []string{"contentPayload", "queryMetadata"} {
			for where, got := range map[string]any{"createMessage": made[field], "getMessage": shown[field], "lastMessage": last[field]} {
				if !equalJSON(got, want) {
					t.Errorf("%s: %s %.300s was returned as %.300v", where, field, free, got)
				}
			}
		}
	}
	// An absent object is null in the Chatbots family and empty in the Conversations family.
	alice.sendMessage(id, "Hi")
	history := alice.history(id)
	newest := history[len(history)-1]
	shown := alice.get("/api/messages/" + text(newest, "id") + "/")
	if metadata := newest["metadata"].(object); len(metadata) != 0 || shown["contentPayload"] != nil || shown["queryMetadata"] != nil || shown["canvas"] != nil {
		t.Errorf("%v, %v", newest, shown)
	}
}

// canvasType is any JSON value, stored unchanged.
func TestCanvasAcceptsAnyType(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	for _, kind := range []string{
		`"markdown"`, `""`, `{}`, `{"kind":"markdown","Kind":"x","n":12345678901234567890}`, `[]`, `[1,[2,{"a":null}]]`, `7`, `1e5`, `-0.10`, `true`, `false`,
	} {
		canvas := `{"name":"草稿","canvasType":` + kind + `,"title":"🙂","content":"Dear\ncustomer"}`
		made := alice.post("/api/messages/", `{"conversation":"`+id+`","canvas":`+canvas+`}`)
		shown := alice.get("/api/messages/" + text(made, "id") + "/")
		for where, got := range map[string]any{"made": made["canvas"], "shown": shown["canvas"]} {
			if !equalJSON(got, decode(t, canvas)) {
				t.Errorf("canvasType %s, %s: %v", kind, where, got)
			}
		}
	}
	for _, field := range []string{"name", "canvasType", "title", "content"} {
		canvas := object{"name": "n", "canvasType": "c", "title": "t", "content": "c"}
		delete(canvas, field)
		alice.call(http.MethodPost, "/api/messages/", object{"conversation": id, "canvas": canvas}).wantProblem(400, "invalid_message", "/canvas/"+field)
	}
}

// The conditions of queryMetadata that restrict retrieval are validated. Other content is accepted.
func TestKnownQueryMetadataIsValidated(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	nested := func(depth int) string {
		return strings.Repeat(`{"operator":"AND","conditions":[`, depth) + `"x"` + strings.Repeat(`]}`, depth)
	}
	for metadata, pointer := range map[string]string{
		`{}`:                       "",
		`{"unknown":[1]}`:          "",
		`{"knowledge_bases":[]}`:   "",
		`{"knowledge_bases":[{}]}`: "",
		`{"knowledge_bases":[{"knowledge_base_id":"a","faq_ids":["b"],"has_user_selected_all":true,"more":1}]}`: "",
		`{"knowledge_bases":[{"has_user_selected_all":"True"},{"has_user_selected_all":"False"}]}`:              "",
		`{"label_relations":{}}`: "",
		`{"label_relations":{"operator":"OR","conditions":["a",{"operator":"AND","conditions":["b"]}]}}`: "",
		`{"label_relations":` + nested(10) + `}`:                                                         "",
		`{"knowledge_bases":{}}`:                                                                         "/knowledge_bases",
		`{"knowledge_bases":[7]}`:                                                                        "/knowledge_bases/0",
		`{"knowledge_bases":[{"knowledge_base_id":7}]}`:                                                  "/knowledge_bases/0/knowledge_base_id",
		`{"knowledge_bases":[{},{"faq_ids":"x"}]}`:                                                       "/knowledge_bases/1/faq_ids",
		`{"knowledge_bases":[{"faq_ids":["a",7]}]}`:                                                      "/knowledge_bases/0/faq_ids/1",
		`{"knowledge_bases":[{"has_user_selected_all":"true"}]}`:                                         "/knowledge_bases/0/has_user_selected_all",
		`{"knowledge_bases":[{},{"has_user_selected_all":1}]}`:                                           "/knowledge_bases/1/has_user_selected_all",
		`{"label_relations":[]}`:                                                                         "/label_relations",
		`{"label_relations":{"operator":"XOR"}}`:                                                         "/label_relations/operator",
		`{"label_relations":{"operator":"and"}}`:                                                         "/label_relations/operator",
		`{"label_relations":{"conditions":"x"}}`:                                                         "/label_relations/conditions",
		`{"label_relations":{"conditions":[7]}}`:                                                         "/label_relations/conditions/0",
		`{"label_relations":{"conditions":["a",{"operator":"NOT"}]}}`:                                    "/label_relations/conditions/1/operator",
		`{"label_relations":{"conditions":[{"conditions":[[]]}]}}`:                                       "/label_relations/conditions/0/conditions/0",
		`{"label_relations":` + nested(11) + `}`:                                                         "/label_relations" + strings.Repeat("/conditions/0", 10),
	} {
		created := alice.call(http.MethodPost, "/api/messages/", `{"conversation":"`+id+`","queryMetadata":`+metadata+`}`)
		completed := alice.call(http.MethodPost, "/api/chatbots/parley/completions/", `{"message":{"content":"Hi","queryMetadata":`+metadata+`}}`)
		if pointer == "" {
			created.wantStatus(201)
			completed.wantStatus(200)
			continue
		}
		if err := created.checkProblem(400, "invalid_message", "/queryMetadata"+pointer); err != nil {
			t.Errorf("%s: %v", metadata, err)
		}
		if err := completed.checkProblem(400, "invalid_message", "/message/queryMetadata"+pointer); err != nil {
			t.Errorf("%s: %v", metadata, err)
		}
	}
}
