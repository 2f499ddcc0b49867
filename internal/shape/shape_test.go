package shape_test

import (
	"bytes"
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/internal/shape"
)

// schema has a property of each kind. It is JSON, like the document's extensions.
const schema = `{
	"type": "object", "required": ["needed"], "properties": {
		"needed": {"type": "string"}, "plainText": {"type": "string"}, "maybeNull": {"type": "string", "nullable": true},
		"wholeNumber": {"type": "integer"}, "number": {"type": "number"},
		"inboxes": {"type": "array", "x-aliases": ["inbox", "inboxId"], "items": {"type": "string", "x-id-or-object": true}},
		"attachments": {"type": "array", "items": {"type": "object", "x-id-or-object": true, "properties": {"id": {"type": "string"}, "fileName": {"type": "string"}}}},
		"named": {"type": "object", "x-string-as": "name", "properties": {"name": {"type": "string"}}},
		"nested": {"type": "object", "properties": {"deepField": {"type": "integer"}}},
		"anything": {},
		"freeObject": {"type": "object", "additionalProperties": true},
		"checkedObject": {"type": "object", "additionalProperties": true, "properties": {"someIds": {"type": "array", "items": {"type": "string"}}, "n": {"type": "integer"}}}
	}
}`

func compiled(t testing.TB) *shape.Shape {
	t.Helper()
	var parsed openapi3.Schema
	if err := json.Unmarshal([]byte(schema), &parsed); err != nil {
		t.Fatal(err)
	}
	return shape.Compile(&parsed)
}

func TestNormalizeRewritesADocument(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, sent, normalized, validated string }{
		{"nothing to change", `{"needed":"x", "plainText" : "y"}`, "", ""},
		{"no object", `[1]`, "", `[]`},
		{"a scalar", ` 7 `, "", ""},
		{"a string for an object", `{"named": "x\"y"}`, `{"named": {"name":"x\"y"}}`, `{"named": {"name":"x\"y"}}`},
		{"snake_case", `{"plain_text":"y","nested":{"deep_field":1}}`, `{"plainText":"y","nested":{"deepField":1}}`, ""},
		{"an escaped key", `{"\u0070lain_text":"y","\u006eeeded":"x"}`, `{"plainText":"y","needed":"x"}`, ""},
		{"camelCase first", `{"plainText":"a","plain_text":"b","needed":"x"}`, `{"plainText":"a","needed":"x"}`, ""},
		{"camelCase last", `{"plain_text":"b","needed":"x","plainText":"a"}`, `{"needed":"x","plainText":"a"}`, ""},
		{"both spellings, one null", `{"plainText":null,"plain_text":"b"}`, `{"plainText":"b"}`, ""},
		{"a key twice", `{"needed":"a","needed":"b"}`, `{"needed":"b"}`, ""},
		{"unknown fields", `{ "zzz" : [0,{"a":"}"}] , "needed":"x" , "Needed":7, "yyy":"\\\"" }`, `{"needed":"x"}`, ""},
		{"only unknown fields", `{"zzz":1,"yyy":2}`, `{}`, ""},
		{"unknown fields between", `{"needed":"x","zzz":1,"plainText":"y"}`, `{"needed":"x","plainText":"y"}`, ""},
		{"null", `{"needed":null,"plainText":null,"maybeNull":null,"nested":null}`, `{"needed":null,"maybeNull":null}`, ""},
		{"null in snake_case", `{"plain_text":null,"maybe_null":null}`, `{"maybeNull":null}`, ""},
		{"integers", `{"wholeNumber":50.0,"number":50.0,"nested":{"deepField":5e1}}`, `{"wholeNumber":50,"number":50.0,"nested":{"deepField":50}}`, ""},
		{"a fraction", `{"wholeNumber":50.5}`, "", ""},
		{"alias", `{"inbox":"a"}`, `{"inboxes":["a"]}`, ""},
		{"alias with a list", `{"inbox_id":["a","b"]}`, `{"inboxes":["a","b"]}`, ""},
		{"alias with an object", `{"inbox":{"id":"a","name":"A"}}`, `{"inboxes":["a"]}`, ""},
		{"alias that is null", `{"inbox":null}`, `{}`, ""},
		{"alias beside the field", `{"inbox":"a","inboxes":["b"]}`, `{"inboxes":["b"]}`, ""},
		{"objects for ids", `{"inboxes":[{"name":"A","id":"a"},"b",{"id":7}]}`, `{"inboxes":["a","b",{"id":7}]}`, ""},
		{"ids for objects", `{"attachments":["a",{"id":"b","file_name":"c"}]}`, `{"attachments":[{"id":"a"},{"id":"b","fileName":"c"}]}`, ""},
		{"free JSON", `{"freeObject":{"a_b":null,"n":1.0,"n":2},"anything":[1,{"x_y":null}]}`, "", `{"freeObject":{},"anything":[]}`},
		{"free JSON of a wrong type", `{"free_object":[1]}`, `{"freeObject":[1]}`, `{"freeObject":[]}`},
		{"checked free JSON", `{"checkedObject":{"someIds":["a",null],"some_ids":1,"n":1.0,"x":{"y":[]}}}`, "", `{"checkedObject":{"someIds":["a",null],"n":1}}`},
		{"a container for a text", `{"needed":[1,2],"plainText":{"a":1}}`, "", `{"needed":[],"plainText":{}}`},
	} {
		wantNormalized, wantValidated := test.normalized, test.validated
		if wantNormalized == "" {
			wantNormalized = test.sent
		}
		if wantValidated == "" {
			wantValidated = wantNormalized
		}
		normalized, validated := compiled(t).Normalize([]byte(test.sent))
		if string(normalized) != wantNormalized || string(validated) != wantValidated {
			t.Errorf("%s: %s became %s and %s", test.name, test.sent, normalized, validated)
		}
	}
}

func TestIntegral(t *testing.T) {
	t.Parallel()
	for number, want := range map[string]string{
		"50.0": "50", "5e1": "50", "5E+1": "50", "0.5e1": "5", "500e-1": "50", "0.0": "0", "-0.0": "0", "-5.00": "-5", "0e999": "0", "1e18": "1000000000000000000",
		"100.10e1": "1001", "0.001e3": "1", "12.340e2": "1234",
	} {
		if got, ok := shape.Integral([]byte(number)); !ok || got != want {
			t.Errorf("%s is %q, want %s", number, got, want)
		}
	}
	for _, number := range []string{"50", "-7", "0.5", "5e-1", "1.05e1", "1e999", "1e21", "1e-999"} {
		if got, ok := shape.Integral([]byte(number)); ok {
			t.Errorf("%s is %s", number, got)
		}
	}
}

func TestDeclaredPointerNamesTheDeclaredFields(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"": "", "/plain_text": "/plainText", "/nested/deep_field": "/nested/deepField", "/attachments/0/file_name": "/attachments/0/fileName",
		"/free_object/a_b": "/freeObject/a_b", "/zzz/plain_text": "/zzz/plain_text", "/inbox": "/inboxes",
	} {
		if got := compiled(t).DeclaredPointer(sent); got != want {
			t.Errorf("%s is %s, want %s", sent, got, want)
		}
	}
}

// For any input, the results are valid JSON, and normalizing a result again changes nothing.
func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `null`, `{"needed":"x"}`, ` { "plain_text" : "y" , "zzz" : [ 1 , { "a" : "\"}" } ] , "inbox" : { "id" : "a" } } `,
		`{"wholeNumber":5e1,"nested":{"deep_field":1.0,"x":1},"attachments":["a",{"id":null}],"freeObject":{"a_b":[{}]},"checkedObject":{"n":1.0,"u":{}}}`,
		`{"inboxes":[],"inbox":[],"anything":"\\","\u006eeeded":null,"needed":"\\\\\""}`,
	} {
		f.Add([]byte(seed))
	}
	s := compiled(f)
	f.Fuzz(func(t *testing.T, sent []byte) {
		if !json.Valid(sent) {
			return
		}
		given := bytes.Clone(sent)
		normalized, validated := s.Normalize(sent)
		if !bytes.Equal(given, sent) {
			t.Fatalf("%q was modified", given)
		}
		if !json.Valid(normalized) || !json.Valid(validated) {
			t.Fatalf("%q became %q and %q", sent, normalized, validated)
		}
		if again, _ := s.Normalize(normalized); !bytes.Equal(again, normalized) {
			t.Fatalf("%q became %q and then %q", sent, normalized, again)
		}
	})
}

// The time and memory for adversarial documents are proportional to their length.
func TestNormalizeIsLinear(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	for name, document := range map[string]string{
		"unknown values": `{"zzz":[` + strings.Repeat("0,", 500_000) + `0]}`,
		"unknown keys":   `{` + strings.Repeat(`"z":0,`, 170_000) + `"z":0}`,
		"one key":        `{` + strings.Repeat(`"plain_text":"",`, 64_000) + `"plainText":""}`,
		"backslashes":    `{"plain_text":"` + strings.Repeat(`\\`, 500_000) + `"}`,
		"quotes":         `{"plain_text":"` + strings.Repeat(`\"`, 500_000) + `"}`,
		"free JSON":      `{"freeObject":{"a":[` + strings.Repeat("{},", 300_000) + `0]}}`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s.Normalize([]byte(document))
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
			t.Errorf("%s: %d bytes were allocated", name, used)
		}
	}
}

// BenchmarkHotNormalize normalizes a message in which only free-form JSON must be removed.
func BenchmarkHotNormalize(b *testing.B) {
	s := compiled(b)
	body := []byte(`{"needed":"請問如何申請退款？ \"How\" do I get my money back?\n","freeObject":{"page":"https://shop.example.com/orders/1","tags":["refund","order"],"n":1.50}}`)
	b.ReportAllocs()
	for b.Loop() {
		s.Normalize(body)
	}
}
