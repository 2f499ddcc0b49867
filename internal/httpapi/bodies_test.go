package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/internal/auth"
)

// mistake is something wrong with a good body.
type mistake struct {
	what    string
	pointer string
	value   any // absent: taken away
}

type absent struct{}

// mistakes derives from a schema everything that it forbids, for each of its properties, however deep.
func mistakes(schema *openapi3.Schema, pointer string) []mistake {
	var found []mistake
	for _, name := range schema.Required {
		found = append(found, mistake{"missing", pointer + "/" + name, absent{}})
	}
	for name, ref := range schema.Properties {
		at, property := pointer+"/"+name, ref.Value
		if property.Extensions["x-alias-of"] != nil {
			continue // tested as what it stands for
		}
		found = append(found, wrongValues(property, at)...)
		found = append(found, mistakes(property, at)...)
		if property.Items != nil {
			found = append(found, wrongValues(property.Items.Value, at+"/0")...)
			found = append(found, mistakes(property.Items.Value, at+"/0")...)
		}
	}
	return found
}

// wrongValues are values that a schema forbids for itself.
func wrongValues(schema *openapi3.Schema, at string) []mistake {
	var found []mistake
	if schema.Type == nil {
		return nil // anything goes
	}
	for kind, value := range map[string]any{"string": "text", "boolean": true, "integer": 7, "array": []any{}, "object": object{}} {
		if !schema.Type.Is(kind) {
			found = append(found, mistake{"a " + kind, at, value})
		}
	}
	if !schema.Nullable {
		found = append(found, mistake{"null", at, nil})
	}
	if schema.Min != nil {
		found = append(found, mistake{"too small", at, *schema.Min - 1})
	}
	if schema.Max != nil {
		found = append(found, mistake{"too large", at, *schema.Max + 1})
	}
	if schema.MinLength > 0 {
		found = append(found, mistake{"too short", at, strings.Repeat("x", int(schema.MinLength)-1)})
	}
	if schema.MaxLength != nil {
		found = append(found, mistake{"too long", at, strings.Repeat("字", int(*schema.MaxLength)+1)})
	}
	if len(schema.Enum) > 0 {
		found = append(found, mistake{"not of the enum", at, "nonsense"})
	}
	if schema.Pattern != "" {
		found = append(found, mistake{"against the pattern", at, " \t "})
	}
	if schema.Format == "date-time" {
		found = append(found, mistake{"no time", at, "yesterday"})
	}
	if schema.MaxItems != nil {
		found = append(found, mistake{"too many", at, slices.Repeat([]any{clone(schema.Items.Value.Example)}, int(*schema.MaxItems)+1)})
	}
	if schema.MinItems > 0 {
		found = append(found, mistake{"too few", at, []any{}})
	}
	return found
}

// Whatever the document forbids in a body is refused, with an entry that points at it and the code that the field
// calls for.
func TestBodiesAreHeldAgainstTheDocument(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	there := admin.one()
	for _, op := range operations {
		if op.jsonBody() == nil {
			continue
		}
		for _, wrong := range mistakes(op.jsonBody(), "") {
			body := op.bodyOf(there)
			set(body, wrong.pointer, wrong.value)
			if wrong.value == (absent{}) {
				drop(body, wrong.pointer)
			}
			got := admin.call(op.method, op.pathOf(there), body)
			status, code := 400, "invalid_request"
			if op.isMessageField(wrong.pointer) {
				code = "invalid_message"
			}
			if length := maxLengthAt(op.jsonBody(), wrong.pointer); wrong.what == "too long" && length == 32768 && code == "invalid_message" {
				status, code = 413, "too_large"
			}
			if err := got.checkProblem(status, code, wrong.pointer); err != nil {
				t.Errorf("%s: %s %s: %v", op.id, wrong.pointer, wrong.what, shorten(err))
			}
		}
	}
}

func shorten(err error) string { return err.Error()[:min(len(err.Error()), 600)] }

// drop takes a property away; absent{} marks it.
func drop(body any, pointer string) {
	name := pointer[strings.LastIndex(pointer, "/")+1:]
	switch value := body.(type) {
	case object:
		if value[name] == (absent{}) {
			delete(value, name)
		}
		for _, item := range value {
			drop(item, pointer)
		}
	case []any:
		for _, item := range value {
			drop(item, pointer)
		}
	}
}

func maxLengthAt(schema *openapi3.Schema, pointer string) int {
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if part == "0" {
			schema = schema.Items.Value
			continue
		}
		schema = schema.Properties[part].Value
	}
	if schema.MaxLength == nil {
		return 0
	}
	return int(*schema.MaxLength)
}

// A body that is no JSON object is refused before anything is made of it, and so is one of another content type.
func TestBodiesMustBeJSONObjects(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	there := admin.one()
	good := func(op operation) string { return string(must(json.Marshal(op.bodyOf(there)))) }
	for _, op := range operations {
		if op.jsonBody() == nil {
			continue
		}
		path := op.pathOf(there)
		for what, body := range map[string]string{
			"empty": "", "blank": " \n", "broken off": good(op)[:len(good(op))-1], "two": good(op) + good(op), "no JSON": "hello",
			"single quotes": "{'a':1}", "a comma too many": strings.TrimSuffix(good(op), "}") + ",}", "NaN": `{"x":NaN}`,
			"array": "[" + good(op) + "]", "string": `"text"`, "number": "7", "null": "null", "boolean": "true",
			"too deep": `{"unknown":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}",
			"exponent": `{"unknown":1e1000}`,
		} {
			if err := admin.call(op.method, path, body).checkProblem(400, "invalid_request", ""); err != nil {
				t.Errorf("%s, %s: %v", op.id, what, err)
			}
		}
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "application/xml"} {
			if err := admin.call(op.method, path, good(op), withHeader("Content-Type", kind)).checkProblem(415, "unsupported_media_type", ""); err != nil {
				t.Errorf("%s, %q: %v", op.id, kind, err)
			}
		}
		for _, kind := range []string{"application/json; charset=utf-8", "Application/JSON"} {
			if got := op.send(admin, path, op.bodyOf(there), withHeader("Content-Type", kind)); got.status >= 300 {
				t.Errorf("%s, %q: %d %s", op.id, kind, got.status, got.body)
			}
		}
	}
}

// Ordinary clients send all of a body before they look at the answer: they see the 413, and no broken connection.
func TestABodyOverAMebibyteIsSeenToBeTooLarge(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	there := admin.one()
	for _, op := range operations {
		if op.jsonBody() == nil {
			continue
		}
		for _, size := range []int{1<<20 + 1, 5 << 20} {
			body := op.bodyOf(there)
			body["unknown"] = ""
			encoded := must(json.Marshal(body))
			body["unknown"] = strings.Repeat("x", size-len(encoded))
			encoded = must(json.Marshal(body))
			for name, reader := range map[string]io.Reader{
				"with a length": bytes.NewReader(encoded),
				"without":       struct{ io.Reader }{bytes.NewReader(encoded)},
			} {
				if err := admin.call(op.method, op.pathOf(there), reader).checkProblem(413, "too_large", ""); err != nil {
					t.Errorf("%s, %d bytes %s: %v", op.id, size, name, err)
				}
			}
		}
	}
	// Exactly a mebibyte is not over it.
	conversation := text(admin.post("/api/conversations/start", object{}), "conversation_id")
	body := fmt.Sprintf(`{"content":"Hi","unknown":"%s"}`, strings.Repeat("x", 1<<20-len(`{"content":"Hi","unknown":""}`)))
	admin.call(http.MethodPost, "/api/conversations/"+conversation+"/messages", body).wantStatus(http.StatusCreated)
}

// Many clients look at the answer only when all of the body is sent: the server must take it, or they see a connection
// that was reset and no 413.
func TestAClientThatSendsAllBeforeItLooksSeesTheAnswer(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	body := strings.Repeat("x", 16<<20)
	for name, c := range map[string]struct {
		header, body string
		want         string
	}{
		"too large":        {"Authorization: Bearer " + admin.key + "\r\nContent-Type: application/json", body, "413"},
		"nobody's":         {"Content-Type: application/json", body, "401"},
		"of another type":  {"Authorization: Bearer " + admin.key + "\r\nContent-Type: text/plain", body, "415"},
		"too large upload": {"Authorization: Bearer " + admin.key + "\r\nContent-Type: multipart/form-data; boundary=x", body + body + body[:8<<20], "413"},
	} {
		path := "/api/conversations/start"
		if strings.HasSuffix(name, "upload") {
			path = imports
		}
		connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(admin.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		if _, err := fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: %d\r\n\r\n%s", path, c.header, len(c.body), c.body); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil || !strings.HasPrefix(response.Status, c.want) {
			t.Errorf("%s: %v, %v", name, response, err)
		}
	}
}
