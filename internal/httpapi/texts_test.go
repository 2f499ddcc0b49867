package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/internal/auth"
)

// stringPointers returns the pointers of all strings in a body's schema, including those in free-form objects.
func stringPointers(schema *openapi3.Schema, pointer string) []string {
	var found []string
	for name, ref := range schema.Properties {
		at, property := pointer+"/"+name, ref.Value
		switch {
		case property.Type.Is("string") || property.Type == nil:
			found = append(found, at)
		case property.Items != nil && property.Items.Value.Type.Is("string"):
			found = append(found, at+"/0")
		case property.Items != nil:
			found = append(found, stringPointers(property.Items.Value, at+"/0")...)
		default:
			found = append(found, stringPointers(property, at)...)
		}
		if property.AdditionalProperties.Has != nil && *property.AdditionalProperties.Has {
			found = append(found, at+"/free/deep/0")
		}
	}
	return append(found, pointer+"/unknown")
}

// PostgreSQL cannot store NUL. It is rejected in every string, including unknown fields and keys.
func TestNULCharactersAreRejectedWithTheirPointer(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	for _, op := range operations {
		if op.jsonBody() == nil {
			continue
		}
		for _, pointer := range stringPointers(op.jsonBody(), "") {
			body := op.minimalBody(resources)
			setAt(body, pointer, "a\x00b")
			code := "invalid_request"
			if op.isMessageField(pointer) {
				code = "invalid_message"
			}
			if err := admin.call(op.method, op.pathOf(resources), body).checkProblem(400, code, pointer); err != nil {
				t.Errorf("%s: %v", op.id, err)
			}
		}
		body := op.minimalBody(resources)
		body["key\x00"] = json.Number("1e400")
		if err := admin.call(op.method, op.pathOf(resources), body).checkProblem(400, "invalid_request", "/key\uFFFD"); err != nil {
			t.Errorf("%s: %v", op.id, err)
		}
	}
}

// A lone surrogate cannot be stored. It becomes U+FFFD, and the rest of the text is kept.
func TestLoneSurrogatesBecomeReplacementCharacters(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	met := 0
	for _, op := range operations {
		if op.jsonBody() == nil || op.deletes() {
			continue
		}
		for name, ref := range op.jsonBody().Properties {
			property := ref.Value
			if !property.Type.Is("string") || len(property.Enum) > 0 || property.Format != "" || kindsByName[name] != "" || (property.Pattern != "" && property.Pattern != `\S`) || name == "origin" {
				continue
			}
			body := op.minimalBody(resources)
			body[name] = "MARK"
			encoded := strings.Replace(string(must(json.Marshal(body))), "MARK", `a\ud83db\udc00\uD83D\uDE42c`+op.id, 1) // unique, as required for the ID in another system
			got := admin.call(op.method, op.pathOf(resources), encoded)
			if got.status >= 300 {
				t.Errorf("%s /%s: %d %s", op.id, name, got.status, got.body)
				continue
			}
			if shown, ok := got.json()[name]; ok {
				met++
				if shown != "a\uFFFDb\uFFFD🙂c"+op.id {
					t.Errorf("%s /%s: %q", op.id, name, shown)
				}
			}
		}
	}
	if met < 10 {
		t.Errorf("only %d strings were returned", met)
	}
}

// Bytes that are not UTF-8 become U+FFFD, and a byte order mark is ignored.
func TestInvalidUTF8IsReplacedAndByteOrderMarksAreIgnored(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	alice.call(http.MethodPost, "/api/conversations/"+id+"/messages", "\uFEFF{\"content\":\"a\xff\xfeb \xe5\xad\x97\"}").wantStatus(http.StatusCreated)
	// A sequence of invalid bytes may become one or several U+FFFD.
	if got := text(alice.history(id)[0], "content"); strings.ReplaceAll(got, "\uFFFD\uFFFD", "\uFFFD") != "a\uFFFDb 字" {
		t.Errorf("%q", got)
	}
}

// Keys are case-sensitive: unknown ones are ignored, and cannot bypass validation.
func TestJSONKeysAreCaseSensitive(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	path := "/api/conversations/" + id + "/messages"
	alice.call(http.MethodPost, path, `{"Content":"Hi"}`).wantProblem(400, "invalid_message", "/content")
	alice.call(http.MethodPost, path, `{"content":"kept","Content":"not","CONTENT":7,"conteNt":"`+strings.Repeat("x", 40000)+`"}`).wantStatus(http.StatusCreated)
	if got := text(alice.history(id)[0], "content"); got != "kept" {
		t.Errorf("%q", got)
	}
}

// Unknown fields are ignored at every depth.
func TestUnknownFieldsAreIgnored(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	var resources resourceIDs
	for _, op := range operations {
		if op.jsonBody() == nil {
			continue
		}
		if resources == nil {
			resources = admin.createResources()
		}
		body := op.minimalBody(resources)
		body["unknown"] = object{"deep": []any{1, nil, "x"}}
		if got := admin.call(op.method, op.pathOf(resources), body); got.status >= 300 {
			t.Errorf("%s: %d %s", op.id, got.status, got.body)
		}
		if op.deletes() {
			resources = nil
		}
	}
}
