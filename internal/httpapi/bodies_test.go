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

// violation is one change that makes a valid body invalid.
type violation struct {
	name    string
	pointer string
	value   any // absent{} removes the property
}

// absent marks a property to be removed.
type absent struct{}

// violations derives every violation of a schema, for each of its properties at any depth.
func violations(schema *openapi3.Schema, pointer string) []violation {
	var found []violation
	for _, name := range schema.Required {
		found = append(found, violation{"missing", pointer + "/" + name, absent{}})
	}
	for name, ref := range schema.Properties {
		at, property := pointer+"/"+name, ref.Value
		wrong := invalidValues(property, at)
		if !slices.Contains(schema.Required, name) {
			wrong = slices.DeleteFunc(wrong, func(v violation) bool { return v.value == nil }) // absent
		}
		found = append(found, wrong...)
		found = append(found, violations(property, at)...)
		if property.Items != nil {
			found = append(found, invalidValues(property.Items.Value, at+"/0")...)
			found = append(found, violations(property.Items.Value, at+"/0")...)
		}
	}
	return found
}

// invalidValues returns values that a schema itself does not accept.
func invalidValues(schema *openapi3.Schema, at string) []violation {
	var found []violation
	if schema.Type == nil {
		return nil // any type is valid
	}
	isID := schema.Extensions["x-id-or-object"] == true
	for kind, value := range map[string]any{"string": "text", "boolean": true, "integer": 7, "array": []any{}, "object": object{}} {
		if !schema.Type.Is(kind) && (kind != "string" || !isID) {
			found = append(found, violation{"a " + kind, at, value})
		}
	}
	if !schema.Nullable {
		found = append(found, violation{"null", at, nil})
	}
	if schema.Min != nil {
		found = append(found, violation{"too small", at, *schema.Min - 1})
	}
	if schema.Max != nil {
		found = append(found, violation{"too large", at, *schema.Max + 1})
	}
	if schema.MinLength > 0 {
		found = append(found, violation{"too short", at, strings.Repeat("x", int(schema.MinLength)-1)})
	}
	if schema.MaxLength != nil {
		found = append(found, violation{"too long", at, strings.Repeat("字", int(*schema.MaxLength)+1)})
	}
	if len(schema.Enum) > 0 {
		found = append(found, violation{"not of the enum", at, "nonsense"})
	}
	if schema.Pattern != "" {
		found = append(found, violation{"not matching the pattern", at, " \t "})
	}
	if schema.Type.Is("integer") {
		found = append(found, violation{"a fraction", at, 7.5})
		if schema.Min == nil || schema.Max == nil {
			found = append(found, violation{"out of range", at, json.Number("1e300")})
		}
	}
	if schema.Format == "date-time" {
		found = append(found, violation{"not a time", at, "yesterday"})
	}
	if schema.MaxItems != nil {
		found = append(found, violation{"too many", at, slices.Repeat([]any{sampleOf(schema.Items.Value)}, int(*schema.MaxItems)+1)})
	}
	if schema.MinItems > 0 {
		found = append(found, violation{"too few", at, []any{}})
	}
	return found
}

// A body that violates its schema is rejected with an error that points at the field and with the
// error code of that field.
func TestInvalidBodiesAreRejected(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	existing := admin.createResources()
	for _, op := range operations {
		if op.jsonBody() == nil {
			continue
		}
		for _, wrong := range violations(op.jsonBody(), "") {
			body := op.minimalBody(existing)
			setAt(body, wrong.pointer, wrong.value)
			if wrong.value == (absent{}) {
				removeAbsent(body, wrong.pointer)
			}
			got := admin.call(op.method, op.pathOf(existing), body)
			status, code := 400, "invalid_request"
			if op.isMessageField(wrong.pointer) {
				code = "invalid_message"
			}
			if length := maxLengthAt(op.jsonBody(), wrong.pointer); wrong.name == "too long" && length == 100000 && code == "invalid_message" {
				status, code = 413, "too_large"
			}
			if err := got.checkProblem(status, code, wrong.pointer); err != nil {
				t.Errorf("%s: %s %s: %v", op.id, wrong.pointer, wrong.name, truncate(err))
			}
		}
	}
}

// truncate truncates an error message to 600 bytes.
func truncate(err error) string { return err.Error()[:min(len(err.Error()), 600)] }

// removeAbsent removes the property that pointer names wherever its value is absent{}.
func removeAbsent(body any, pointer string) {
	name := pointer[strings.LastIndex(pointer, "/")+1:]
	switch value := body.(type) {
	case object:
		if value[name] == (absent{}) {
			delete(value, name)
		}
		for _, item := range value {
			removeAbsent(item, pointer)
		}
	case []any:
		for _, item := range value {
			removeAbsent(item, pointer)
		}
	}
}

// maxLengthAt returns the maxLength of the property at pointer, or 0 if it has none.
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

// A body that is not a JSON object is rejected before it is processed, and so is any other content
// type.
func TestBodiesMustBeJSONObjects(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	existing := admin.createResources()
	valid := func(op operation) string { return string(must(json.Marshal(op.minimalBody(existing)))) }
	for _, op := range operations {
		if op.jsonBody() == nil {
			continue
		}
		path := op.pathOf(existing)
		for what, body := range map[string]string{
			"empty": "", "blank": " \n", "truncated": valid(op)[:len(valid(op))-1], "two objects": valid(op) + valid(op), "not JSON": "hello",
			"single quotes": "{'a':1}", "trailing comma": strings.TrimSuffix(valid(op), "}") + ",}", "NaN": `{"x":NaN}`,
			"array": "[" + valid(op) + "]", "string": `"text"`, "number": "7", "null": "null", "boolean": "true",
			"too deep": `{"unknown":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}",
			"exponent": `{"unknown":1e1000}`,
		} {
			if err := admin.call(op.method, path, body).checkProblem(400, "invalid_request", ""); err != nil {
				t.Errorf("%s, %s: %v", op.id, what, err)
			}
		}
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "application/xml"} {
			if err := admin.call(op.method, path, valid(op), withHeader("Content-Type", kind)).checkProblem(415, "unsupported_media_type", ""); err != nil {
				t.Errorf("%s, %q: %v", op.id, kind, err)
			}
		}
		for _, kind := range []string{"application/json; charset=utf-8", "Application/JSON"} {
			if got := op.send(admin, op.pathOf(existing), op.minimalBody(existing), withHeader("Content-Type", kind)); got.status >= 300 {
				t.Errorf("%s, %q: %d %s", op.id, kind, got.status, got.body)
			}
			if op.deletes() {
				existing = admin.createResources()
			}
		}
	}
}

// bodyLimit returns how many bytes the JSON body of an operation may have.
func (op operation) bodyLimit() int {
	if limit, ok := op.Extensions["x-body-limit"].(float64); ok {
		return int(limit)
	}
	return 1 << 20
}

// Ordinary clients send the whole body before they read the response. They receive the 413 instead
// of a connection reset.
func TestBodyOverItsLimitIsTooLarge(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	existing := admin.createResources()
	for _, op := range operations {
		if op.jsonBody() == nil {
			continue
		}
		limit := op.bodyLimit()
		for _, size := range []int{limit + 1, limit + 4<<20} {
			body := op.minimalBody(existing)
			body["unknown"] = ""
			encoded := must(json.Marshal(body))
			body["unknown"] = strings.Repeat("x", size-len(encoded))
			encoded = must(json.Marshal(body))
			for name, reader := range map[string]io.Reader{
				"with Content-Length": bytes.NewReader(encoded),
				"chunked":             struct{ io.Reader }{bytes.NewReader(encoded)},
			} {
				if err := admin.call(op.method, op.pathOf(existing), reader).checkProblem(413, "too_large", ""); err != nil {
					t.Errorf("%s, %d bytes %s: %v", op.id, size, name, err)
				}
			}
		}
	}
	// A body of exactly one mebibyte is accepted.
	conversation := text(admin.post("/api/conversations/start", object{}), "conversation_id")
	body := fmt.Sprintf(`{"content":"Hi","unknown":"%s"}`, strings.Repeat("x", 1<<20-len(`{"content":"Hi","unknown":""}`)))
	admin.call(http.MethodPost, "/api/conversations/"+conversation+"/messages", body).wantStatus(http.StatusCreated)
}

// A body is limited to x-body-limit where an operation has it, and a body of that length is accepted.
func TestSmallRequestsHaveSmallerLimits(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	existing := admin.createResources()
	tried := 0
	for _, op := range operations {
		limit := op.bodyLimit()
		if op.jsonBody() == nil || limit >= 1<<20 {
			continue
		}
		tried++
		body := op.minimalBody(existing)
		body["unknown"] = ""
		encoded := must(json.Marshal(body))
		for excess, status := range map[int]int{0: 200, 1: 413} {
			body["unknown"] = strings.Repeat("x", limit-len(encoded)+excess)
			got := admin.call(op.method, op.pathOf(existing), body)
			if got.status/100 != status/100 || status == 413 && got.status != 413 {
				t.Errorf("%s: %v bytes and %d: %d %s", op.id, limit, excess, got.status, got.body)
			}
		}
	}
	if tried < 10 {
		t.Errorf("only %d operations were tested", tried)
	}
}

// A body can have at most 50,000 values, wherever they are.
func TestBodyWithTooManyValuesIsTooLarge(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	path := "/api/conversations/" + alice.startUnanswered() + "/messages"
	for count, status := range map[int]int{49_996: 201, 49_997: 413} { // the object, the content and the two containers count as well
		list := "[" + strings.TrimSuffix(strings.Repeat("0,", count), ",") + "]"
		for _, field := range []string{"unknown", "metadata"} {
			alice.call(http.MethodPost, path, `{"content":"Hi","`+field+`":{"a":`+list+`}}`).wantStatus(status)
		}
	}
	empty := strings.TrimSuffix(strings.Repeat("{},", 49_996), ",")
	alice.call(http.MethodPost, path, `{"content":"Hi","unknown":{"a":[`+empty+`]}}`).wantStatus(201)
}

// Many clients read the response only after sending the whole body. The server must consume it, or
// they see a connection reset and no response.
func TestClientThatSendsTheWholeBodyFirstReceivesTheError(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	body := strings.Repeat("x", 16<<20)
	for name, c := range map[string]struct {
		header, body string
		want         string
	}{
		"too large":          {"Authorization: Bearer " + admin.key + "\r\nContent-Type: application/json", body, "413"},
		"without a key":      {"Content-Type: application/json", body, "401"},
		"other content type": {"Authorization: Bearer " + admin.key + "\r\nContent-Type: text/plain", body, "415"},
		"too large upload":   {"Authorization: Bearer " + admin.key + "\r\nContent-Type: multipart/form-data; boundary=x", body + body + body[:8<<20], "413"},
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
