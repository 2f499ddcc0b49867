package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"

	"parley/internal/auth"
)

// field is a property of a body, with the names of the enclosing properties.
type field struct {
	pointer    string
	schema     *openapi3.Schema
	isRequired bool
	isFree     bool           // part of free JSON
	examples   map[string]any // by the pointers of the enclosing objects
}

// fieldsOf returns the properties of a body at any depth.
func fieldsOf(schema *openapi3.Schema) []field {
	return nestedFields(schema, field{examples: map[string]any{}})
}

func nestedFields(schema *openapi3.Schema, parent field) []field {
	var found []field
	isFree := parent.isFree || schema.AdditionalProperties.Has != nil && *schema.AdditionalProperties.Has || schema.Extensions["x-free"] == true
	for name, ref := range schema.Properties {
		property := ref.Value
		f := field{parent.pointer + "/" + name, property, slices.Contains(schema.Required, name), isFree, maps.Clone(parent.examples)}
		found = append(found, f)
		f.examples[f.pointer] = sampleOf(property)
		found = append(found, nestedFields(property, f)...)
		if property.Items != nil {
			f.pointer, f.schema = f.pointer+"/0", property.Items.Value
			f.examples[f.pointer] = sampleOf(property.Items.Value)
			found = append(found, nestedFields(property.Items.Value, f)...)
		}
	}
	return found
}

// bodyWith returns a valid body that contains the objects that enclose a field.
func (op operation) bodyWith(f field, resources resourceIDs) object {
	body := op.minimalBody(resources)
	for _, pointer := range slices.SortedFunc(maps.Keys(f.examples), func(a, b string) int { return len(a) - len(b) }) {
		if f.examples[pointer] != nil && valueAt(body, pointer) == nil && pointer != f.pointer {
			setAt(body, pointer, clone(f.examples[pointer]))
		}
	}
	fillIDs(body, resources)
	return body
}

// valueAt returns the value at a pointer of a body.
func valueAt(body any, pointer string) any {
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		switch value := body.(type) {
		case object:
			body = value[part]
		case []any:
			if len(value) == 0 {
				return nil
			}
			body = value[0]
		default:
			return nil
		}
	}
	return body
}

var upper = regexp.MustCompile(`[A-Z]`)

// snakeCase returns a pointer with its last name in snake_case.
func snakeCase(pointer string) string {
	at := strings.LastIndex(pointer, "/") + 1
	return pointer[:at] + strings.ToLower(upper.ReplaceAllString(pointer[at:], "_$0"))
}

// eachField calls visit for each property of each body, with an admin as caller.
func eachField(t *testing.T, visit func(op operation, f field, admin caller, resources resourceIDs)) int {
	t.Helper()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	fields := 0
	for _, op := range operations {
		if op.jsonBody() == nil {
			continue
		}
		for _, f := range fieldsOf(op.jsonBody()) {
			fields++
			visit(op, f, admin, resources)
		}
	}
	return fields
}

// Every camelCase field is accepted in snake_case. Violations name the declared field. If both spellings are given,
// the snake_case one is ignored.
func TestEachFieldIsAcceptedInSnakeCase(t *testing.T) {
	t.Parallel()
	tried := 0
	eachField(t, func(op operation, f field, admin caller, resources resourceIDs) {
		older := snakeCase(f.pointer)
		if older == f.pointer || f.isFree {
			return
		}
		tried++
		wrongs := invalidValues(f.schema, f.pointer)
		for _, wrong := range wrongs {
			if wrong.value == nil && !f.isRequired {
				continue
			}
			code := "invalid_request"
			if op.isMessageField(f.pointer) {
				code = "invalid_message"
			}
			body := op.bodyWith(f, resources)
			setAt(body, f.pointer, absent{})
			removeAbsent(body, f.pointer)
			setAt(body, older, wrong.value)
			if err := admin.call(op.method, op.pathOf(resources), body).checkProblem(400, code, f.pointer); err != nil {
				t.Errorf("%s: %s %s: %v", op.id, older, wrong.name, truncate(err))
			}
		}
		body := op.bodyWith(f, resources)
		if valueAt(body, f.pointer) == nil && sampleOf(f.schema) == nil {
			return // a null does not take precedence
		}
		if valueAt(body, f.pointer) == nil {
			setAt(body, f.pointer, sampleOf(f.schema))
			fillIDs(body, resources)
		}
		setAt(body, older, object{"not": []any{"this"}})
		if got := op.send(admin, op.pathOf(resources), body); got.status >= 300 && !isConflict(got) {
			t.Errorf("%s: %s beside %s: %d %s", op.id, older, f.pointer, got.status, got.body)
		}
	})
	if tried < 40 {
		t.Errorf("only %d fields were tested", tried)
	}
}

// isConflict reports whether a request was valid but repeated: a name is not unique, or a queue is full.
func isConflict(got answer) bool {
	return got.status == http.StatusConflict || got.status == http.StatusServiceUnavailable
}

// A null in an optional field counts as absent, and a number with a zero fraction is an integer.
func TestNullsAreAbsentAndWholeNumbersAreIntegers(t *testing.T) {
	t.Parallel()
	nulls, integers := 0, 0
	eachField(t, func(op operation, f field, admin caller, resources resourceIDs) {
		var values []any
		if !f.isRequired {
			nulls++
			values = append(values, nil)
		}
		if f.schema.Type.Is("integer") {
			integers++
			values = append(values, json.Number(fmt.Sprintf("%v.0", f.schema.Example)), json.Number(fmt.Sprintf("%v0e-1", f.schema.Example)), json.Number(fmt.Sprintf("%v.000E+0", f.schema.Example)))
		}
		for _, value := range values {
			body := op.bodyWith(f, resources)
			setAt(body, f.pointer, absent{})
			removeAbsent(body, f.pointer)
			without := op.send(admin, op.pathOf(resources), clone(body))
			setAt(body, f.pointer, value)
			if got := op.send(admin, op.pathOf(resources), body); got.status >= 300 && !isConflict(got) && (value != nil || got.status != without.status) {
				t.Errorf("%s: %s is %v: %d %s", op.id, f.pointer, value, got.status, got.body)
			}
		}
	})
	if nulls < 60 || integers < 8 {
		t.Errorf("only %d nulls and %d integers were tested", nulls, integers)
	}
}

// A deprecated field has the effect of its replacement. If both are given, the replacement takes precedence.
func TestDeprecatedFieldsHaveTheEffectOfTheirReplacements(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	shop := text(o.as("manager", auth.Manage).post("/api/web-chats/", object{"name": "Shop"}), "id")
	id := alice.startUnanswered()

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

// Keys in free-form objects are never renamed, even if siblings of these objects are.
func TestKeysInFreeObjectsAreNeverRenamed(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startUnanswered()
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
	// Validation of queryMetadata applies to the deprecated spelling, too.
	alice.call(http.MethodPost, "/api/messages/", `{"conversation":"`+id+`","query_metadata":{"knowledge_bases":7}}`).wantProblem(400, "invalid_message", "/queryMetadata/knowledge_bases")
	// The Conversations family has one spelling of each field and ignores others.
	alice.call(http.MethodPost, "/api/conversations/start", `{"botId":"nobody","is_streaming":7}`).wantStatus(201)
}

// Idempotency-Keys compare the bytes of the body as sent.
func TestIdempotencyKeysCompareTheBytesOfBodies(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startUnanswered()
	older := must(json.Marshal(object{"conversation": id, "content_payload": object{"a_b": 1}}))
	newer := bytes.ReplaceAll(older, []byte("content_payload"), []byte("contentPayload"))
	first := alice.call(http.MethodPost, "/api/messages/", string(older), withHeader("Idempotency-Key", "k"))
	again := alice.call(http.MethodPost, "/api/messages/", string(older), withHeader("Idempotency-Key", "k"))
	if first.wantStatus(201)["id"] != again.wantStatus(201)["id"] || again.header.Get("Idempotency-Replayed") != "true" || !bytes.Equal(first.body, again.body) {
		t.Errorf("first %s, again %s", first.body, again.body)
	}
	alice.call(http.MethodPost, "/api/messages/", string(newer), withHeader("Idempotency-Key", "k")).wantProblem(422, "unprocessable", "")
	// All aliases of a path share their Idempotency-Keys.
	for _, path := range []string{"/api/messages", "/api/v1/messages/", "/api/v1/messages"} {
		if got := alice.call(http.MethodPost, path, string(older), withHeader("Idempotency-Key", "k")); got.wantStatus(201)["id"] != first.json()["id"] {
			t.Errorf("%s: %s", path, got.body)
		}
	}
}

// toSnakeCase returns a body in which every declared key is in snake_case.
func toSnakeCase(value any, schema *openapi3.Schema) any {
	if schema == nil || schema.AdditionalProperties.Has != nil || schema.Extensions["x-free"] == true {
		return value
	}
	switch value := value.(type) {
	case object:
		respelled := object{}
		for name, item := range value {
			var property *openapi3.Schema
			if ref := schema.Properties[name]; ref != nil {
				property = ref.Value
			}
			respelled[snakeCase(name)] = toSnakeCase(item, property)
		}
		return respelled
	case []any:
		respelled := make([]any, len(value))
		for i, item := range value {
			respelled[i] = toSnakeCase(item, schema.Items.Value)
		}
		return respelled
	}
	return value
}

var volatileParts = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[\d:.]+Z|(prefix|key|token|ticket|slug)":"[^"]*|"seq":\d+|"count":\d+`)

// A body that is entirely in snake_case has the same effect as in camelCase.
func TestSnakeCaseBodiesHaveTheSameEffect(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	tried := 0
	for _, op := range operations {
		schema := op.jsonBody()
		if schema == nil {
			continue
		}
		for _, f := range fieldsOf(schema) {
			if snakeCase(f.pointer) == f.pointer || f.isFree || sampleOf(f.schema) == nil {
				continue
			}
			tried++
			var answers []string
			for _, spelled := range []func(any) any{func(body any) any { return body }, func(body any) any { return toSnakeCase(body, schema) }} {
				body := op.bodyWith(f, resources)
				setAt(body, f.pointer, sampleOf(f.schema))
				if strings.HasSuffix(f.pointer, "/sourceId") {
					setAt(body, f.pointer, uuid.NewString())
				}
				fillIDs(body, resources)
				got := op.send(admin, op.pathOf(resources), spelled(body))
				answers = append(answers, fmt.Sprintf("%d %s", got.status, volatileParts.ReplaceAllString(string(got.body), "")))
			}
			if answers[0] != answers[1] || !strings.HasPrefix(answers[0], "20") {
				t.Errorf("%s: %s:\n%s\n%s", op.id, f.pointer, answers[0], answers[1])
			}
		}
	}
	if tried < 40 {
		t.Errorf("only %d fields were tested", tried)
	}
}
