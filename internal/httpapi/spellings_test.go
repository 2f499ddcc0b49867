package httpapi_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/internal/auth"
)

// spelling is a property of a body that is a deprecated spelling of another one.
type spelling struct {
	pointer, wins string // both from the body's root
	schema        *openapi3.Schema
}

func spellingsOf(schema *openapi3.Schema, pointer string) []spelling {
	var found []spelling
	for name, ref := range schema.Properties {
		if wins, ok := ref.Value.Extensions["x-alias-of"].(string); ok {
			found = append(found, spelling{pointer + "/" + name, pointer + "/" + wins, schema.Properties[wins].Value})
			continue
		}
		found = append(found, spellingsOf(ref.Value, pointer+"/"+name)...)
	}
	return found
}

// at reads a place of a body.
func at(body any, pointer string) any {
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		value, ok := body.(object)
		if !ok {
			return nil
		}
		body = value[part]
	}
	return body
}

// The deprecated spellings are those that existing clients send, each beside what it stands for.
func TestTheDeprecatedSpellingsAreDeclared(t *testing.T) {
	t.Parallel()
	var got []string
	for _, op := range operations {
		if op.jsonBody() == nil {
			continue
		}
		for _, one := range spellingsOf(op.jsonBody(), "") {
			got = append(got, op.id+" "+one.pointer+" "+one.wins)
		}
	}
	want := []string{
		"createCompletion /is_streaming /isStreaming",
		"createCompletion /message/content_payload /message/contentPayload",
		"createCompletion /message/query_metadata /message/queryMetadata",
		"createConversation /web_chat /webChat",
		"createMessage /canvas/canvas_type /canvas/canvasType",
		"createMessage /content_payload /contentPayload",
		"createMessage /query_metadata /queryMetadata",
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// An older spelling is held against what it stands for, and mistakes name that; beside the newer one it counts for
// nothing, whatever it is.
func TestAnOlderSpellingIsHeldAgainstWhatItStandsFor(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	there := admin.one()
	for _, op := range operations {
		if op.jsonBody() == nil {
			continue
		}
		for _, one := range spellingsOf(op.jsonBody(), "") {
			base := func() object {
				body := op.bodyOf(there)
				if strings.HasPrefix(one.pointer, "/canvas/") {
					body["canvas"] = object{"name": "n", "canvasType": "c", "title": "t", "content": "c"}
				}
				return body
			}
			for _, wrong := range invalidValues(one.schema, one.pointer) {
				body := base()
				set(body, one.wins, absent{})
				removeAbsent(body, one.wins)
				set(body, one.pointer, wrong.value)
				code := "invalid_request"
				if op.isMessageField(one.wins) {
					code = "invalid_message"
				}
				if err := admin.call(op.method, op.pathOf(there), body).checkProblem(400, code, one.wins); err != nil {
					t.Errorf("%s: %s %s: %v", op.id, one.pointer, wrong.name, err)
				}
				body = base()
				if at(body, one.wins) == nil {
					set(body, one.wins, clone(one.schema.Example))
				}
				set(body, one.pointer, wrong.value)
				if got := admin.call(op.method, op.pathOf(there), body); got.status >= 300 {
					t.Errorf("%s: %s %s beside %s: %d %s", op.id, one.pointer, wrong.name, one.wins, got.status, got.body)
				}
			}
			// A NUL is found where it was sent, and is a mistake of the same kind.
			body := base()
			set(body, one.pointer, "a\x00b")
			code := "invalid_request"
			if op.isMessageField(one.wins) {
				code = "invalid_message"
			}
			if err := admin.call(op.method, op.pathOf(there), body).checkProblem(400, code, one.pointer); err != nil {
				t.Errorf("%s: %v", op.id, err)
			}
		}
	}
}

// Each older spelling does what the newer one does, which wins where both are there.
func TestOlderSpellingsDoWhatTheNewerDo(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	shop := text(o.as("manager", auth.Manage).post("/api/web-chats/", object{"name": "Shop"}), "id")
	id := alice.silent()

	// web_chat
	for name, c := range map[string]struct {
		body object
		want string
	}{
		"older": {object{"web_chat": shop}, "Shop"}, "both": {object{"web_chat": shop, "webChat": o.webChat.ID}, "Website"},
	} {
		if made := alice.post("/api/conversations/", c.body); made["inbox"].(object)["name"] != c.want {
			t.Errorf("web_chat, %s: %v", name, made["inbox"])
		}
	}
	alice.call(http.MethodPost, "/api/conversations/", object{}).wantProblem(400, "invalid_request", "/webChat")

	// is_streaming
	for body, isStream := range map[string]bool{
		`"is_streaming":true`: true, `"is_streaming":false`: false, `"is_streaming":true,"isStreaming":false`: false, `"isStreaming":true,"is_streaming":false`: true,
		`"is\u005fstreaming":true`: true, `"\u0069s_streaming":true`: true,
	} {
		got := alice.call(http.MethodPost, completions, `{"message":{"content":"Hi"},`+body+`}`)
		if got.status != 200 || strings.HasPrefix(got.header.Get("Content-Type"), "text/event-stream") != isStream {
			t.Errorf("%s: %d %s", body, got.status, got.header.Get("Content-Type"))
		}
	}

	// content_payload and query_metadata of a message and of a completion's message; canvas_type of a canvas
	const older, newer = `{"is_older":true,"n":12345678901234567890.10,"text":"<&>"}`, `{"isOlder":false}`
	for _, names := range [][2]string{{"content_payload", "contentPayload"}, {"query_metadata", "queryMetadata"}} {
		for body, want := range map[string]string{
			`"` + names[0] + `":` + older:                                  older,
			`"` + names[0] + `":` + older + `,"` + names[1] + `":` + newer: newer,
			`"` + names[1] + `":` + newer + `,"` + names[0] + `":7`:        newer,
		} {
			made := alice.post("/api/messages/", `{"conversation":"`+id+`",`+body+`}`)
			if _, isThere := made[names[0]]; isThere || !equalJSON(made[names[1]], decode(t, want)) {
				t.Errorf("%s: %v", body, made)
			}
			alice.call(http.MethodPost, completions, `{"conversation":"`+id+`","message":{"content":"Hi",`+body+`}}`).wantStatus(200)
			asked := objects(alice.get("/api/messages/?conversation="+id), "results")[1]
			if !equalJSON(asked[names[1]], decode(t, want)) {
				t.Errorf("completion with %s: %v", body, asked)
			}
		}
	}
	for body, want := range map[string]string{
		`"canvas_type":{"canvas_type":1}`: `{"canvas_type":1}`, `"canvas_type":"a","canvasType":"b"`: `"b"`, `"canvas_type":false`: `false`,
	} {
		made := alice.post("/api/messages/", `{"conversation":"`+id+`","canvas":{"name":"n","title":"t","content":"c",`+body+`}}`)
		canvas := made["canvas"].(object)
		if fields := slices.Sorted(maps.Keys(canvas)); !slices.Equal(fields, []string{"canvasType", "content", "name", "title"}) || !equalJSON(canvas["canvasType"], decode(t, want)) {
			t.Errorf("%s: %v", body, canvas)
		}
	}
}

// Keys that are the caller's own are never renamed, also where others beside them are.
func TestKeysInFreeObjectsAreNeverRenamed(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.silent()
	const free = `{"is_streaming":true,"query_metadata":{"content_payload":[{"web_chat":1,"webChat":2}]},"content_payload":null,"canvas":{"canvas_type":"x"},"canvas_type":{},"message":{"query_metadata":{}}}`
	want := decode(t, free)
	for _, names := range [][2]string{{"contentPayload", "queryMetadata"}, {"content_payload", "query_metadata"}} {
		made := alice.post("/api/messages/", `{"conversation":"`+id+`","`+names[0]+`":`+free+`,"`+names[1]+`":`+free+`,"canvas":{"name":"n","title":"t","content":"c","canvas_type":`+free+`}}`)
		for where, got := range map[string]any{"contentPayload": made["contentPayload"], "queryMetadata": made["queryMetadata"], "canvasType": made["canvas"].(object)["canvasType"]} {
			if !equalJSON(got, want) {
				t.Errorf("%s sent as %v is %v", where, names, got)
			}
		}
	}
	alice.post("/api/conversations/"+id+"/messages", `{"content":"Hi","metadata":`+free+`}`)
	if history := alice.history(id); !equalJSON(history[len(history)-1]["metadata"], want) {
		t.Errorf("metadata is %v", history[len(history)-1]["metadata"])
	}
	// What queryMetadata is checked for is checked there too.
	alice.call(http.MethodPost, "/api/messages/", `{"conversation":"`+id+`","query_metadata":{"knowledge_bases":7}}`).wantProblem(400, "invalid_message", "/queryMetadata/knowledge_bases")
	// The Conversations family has one spelling only, and ignores what it does not know.
	alice.call(http.MethodPost, "/api/conversations/start", `{"botId":"nobody","is_streaming":7}`).wantStatus(201)
}

// An Idempotency-Key goes by the bytes that were sent.
func TestAnIdempotencyKeyGoesByTheBytesThatWereSent(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.silent()
	older := must(json.Marshal(object{"conversation": id, "content_payload": object{"a_b": 1}}))
	newer := bytes.ReplaceAll(older, []byte("content_payload"), []byte("contentPayload"))
	first := alice.call(http.MethodPost, "/api/messages/", string(older), withHeader("Idempotency-Key", "k"))
	again := alice.call(http.MethodPost, "/api/messages/", string(older), withHeader("Idempotency-Key", "k"))
	if first.wantStatus(201)["id"] != again.wantStatus(201)["id"] || again.header.Get("Idempotency-Replayed") != "true" || !bytes.Equal(first.body, again.body) {
		t.Errorf("first %s, again %s", first.body, again.body)
	}
	alice.call(http.MethodPost, "/api/messages/", string(newer), withHeader("Idempotency-Key", "k")).wantProblem(422, "unprocessable", "")
	// The path's other spellings are the same path.
	for _, path := range []string{"/api/messages", "/api/v1/messages/", "/api/v1/messages"} {
		if got := alice.call(http.MethodPost, path, string(older), withHeader("Idempotency-Key", "k")); got.wantStatus(201)["id"] != first.json()["id"] {
			t.Errorf("%s: %s", path, got.body)
		}
	}
}
