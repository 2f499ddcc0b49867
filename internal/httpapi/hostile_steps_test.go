package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// mutation is a named mutation of requests. make binds it to an organization.
type mutation struct {
	name string
	make func(g *requestGenerator) func(r *rand.Rand, a *rawRequest)
}

// simpleMutation returns a mutation that needs no data of the organization.
func simpleMutation(name string, do func(r *rand.Rand, a *rawRequest)) mutation {
	return mutation{name, func(*requestGenerator) func(*rand.Rand, *rawRequest) { return do }}
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// texts are strings that break careless parsers.
var texts = []string{
	"", " ", "\t", "　", "\u200b", "\u202e\u2066", "\ufeff", "\u2028\u2029", "🙂", "👩‍👩‍👧‍👦", "e\u0301", strings.Repeat("\u0301", 300), "字", "İı", "ß", "\uffff", "\U0010ffff",
	"null", "true", "NaN", "undefined", "0", "-1", "1e999", "'", "\"", "\\", "'; DROP TABLE sessions; --", "%", "_", "%%", "$1", "{{7*7}}", "${jndi:ldap://x}", "<script>alert(1)</script>",
	"=1+1", "+1", "-1", "@SUM(1)", "../../etc/passwd", "%2e%2e%2f", "a\r\nX-Evil: 1", "\x1b[31m", "\x7f", "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01", "019BC0A4-7C10-7F3A-8D55-1B2F6A1C0E01",
	"{019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01}", "019bc0a47c107f3a8d551b2f6a1c0e01", "00000000-0000-0000-0000-000000000000", "urn:uuid:019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01",
	"2026-01-15", "0000-00-00", "2026-02-30", "9999-12-31T23:59:59.999999Z", "2026-01-15T10:30:00+14:59", "http://127.0.0.1:1/", "javascript:alert(1)", "https://", "file:///etc/passwd",
	strings.Repeat("x", 300), strings.Repeat("字", 5000), strings.Repeat("y", 100001), strings.Repeat("[", 3000),
}

// jsonValues are JSON values of unexpected types, and invalid JSON.
var jsonValues = []string{
	`null`, `true`, `false`, `0`, `-0`, `-1`, `1`, `1.5`, `1e2`, `1e400`, `1e-400`, `1e1000`, `-1e999`, `2147483647`, `2147483648`, `-2147483649`, `9007199254740993`, `9223372036854775807`, `9223372036854775808`,
	`-9223372036854775809`, `18446744073709551616`, `0.1000000000000000055511151231257827`, strings.Repeat("9", 400), `""`, `" "`, `"x"`, `"\u0000"`, `"a\u0000b"`, `"\ud800"`, `"\udc00\ud800"`, `"\ud83d\ude42"`,
	`"\\u0000"`, `"\\\u0000"`, `[]`, `{}`, `[null]`, `[[]]`, `[{}]`, `{"":""}`, `{"a":1,"a":2}`, `{"__proto__":{}}`, `{"constructor":null}`, `{"$ref":"#/"}`, `["x","x","x"]`, `{"id":null}`,
	`[1,"1",null,true,{},[]]`, strings.Repeat("[", 90) + strings.Repeat("]", 90), strings.Repeat("[", 101) + strings.Repeat("]", 101), strings.Repeat(`{"a":`, 5000) + `1` + strings.Repeat(`}`, 5000),
	`"` + strings.Repeat("字", 40000) + `"`, `[` + strings.TrimSuffix(strings.Repeat(`1,`, 20000), ",") + `]`, `tru`, `NaN`, `Infinity`, `0x10`, `01`, `'x'`, `"\x"`, "\"\xff\"", "\"\x01\"", "\"\t\"", ``,
}

// bodyMutations are mutations of JSON bodies.
var bodyMutations = []mutation{
	simpleMutation("another value", func(r *rand.Rand, a *rawRequest) {
		a.replaceRandomValue(r, func() string { return pick(r, jsonValues) })
	}),
	simpleMutation("another text", func(r *rand.Rand, a *rawRequest) {
		a.replaceRandomValue(r, func() string { return string(must(json.Marshal(pick(r, texts)))) })
	}),
	simpleMutation("a random text", func(r *rand.Rand, a *rawRequest) {
		a.replaceRandomValue(r, func() string {
			var text strings.Builder
			for range r.IntN(40) {
				text.WriteRune(rune(r.IntN(1 << (4 + r.IntN(17)))))
			}
			return string(must(json.Marshal(text.String())))
		})
	}),
	{"another's id", func(g *requestGenerator) func(*rand.Rand, *rawRequest) {
		return func(r *rand.Rand, a *rawRequest) {
			a.replaceRandomValue(r, func() string { return string(must(json.Marshal(g.randomID(r)))) })
		}
	}},
	simpleMutation("a value removed", func(r *rand.Rand, a *rawRequest) { a.replaceRandomValue(r, func() string { return "" }) }),
	simpleMutation("a duplicate key", func(r *rand.Rand, a *rawRequest) {
		var body map[string]json.RawMessage
		if json.Unmarshal(a.body, &body) != nil || len(body) == 0 {
			return
		}
		key := pick(r, slices.Sorted(maps.Keys(body)))
		more := fmt.Sprintf("%q:%s", key, pick(r, jsonValues))
		if at := bytes.IndexByte(a.body, '{'); r.IntN(2) == 0 {
			a.body = slices.Concat(a.body[:at+1], []byte(more+","), a.body[at+1:])
		} else {
			at = bytes.LastIndexByte(a.body, '}')
			a.body = slices.Concat(a.body[:at], []byte(","+more), a.body[at:])
		}
	}),
	simpleMutation("another key", func(r *rand.Rand, a *rawRequest) {
		key := pick(r, []string{
			"Content", "CONTENT", "content", "unknown", "", "id", "organization_id", "organizationId", "user_id", "scopes", "isAdmin", "__proto__", "is_streaming", "isStreaming", "query_metadata", "web_chat",
			"canvas_type", "content_payload", "conversation", "conversation_id", "session_id", "type", "sender", "metadata", "con\\u0074ent", "content\\u0000", "\\ud800",
		})
		if at := bytes.IndexByte(a.body, '{'); at >= 0 && len(a.body) > 2 {
			a.body = slices.Concat(a.body[:at+1], []byte(`"`+key+`":`+pick(r, jsonValues)+","), a.body[at+1:])
		}
	}),
	simpleMutation("another body", func(r *rand.Rand, a *rawRequest) { a.body = []byte(pick(r, jsonValues)) }),
	simpleMutation("text around the body", func(r *rand.Rand, a *rawRequest) {
		around := pick(r, [][2]string{{"[", "]"}, {"\ufeff", ""}, {" \n", "\n "}, {"", "{}"}, {"", "]"}, {"{", "}"}, {"\x00", ""}, {"", "\x00"}, {`{"body":`, "}"}, {"//\n", ""}, {"", ","}, {")]}',\n", ""}})
		a.body = slices.Concat([]byte(around[0]), a.body, []byte(around[1]))
	}),
	simpleMutation("bytes changed", func(r *rand.Rand, a *rawRequest) {
		a.body = slices.Clone(a.body)
		for range 1 + r.IntN(3) {
			if len(a.body) > 0 {
				a.body[r.IntN(len(a.body))] = byte(r.IntN(256))
			}
		}
	}),
	simpleMutation("truncated body", func(r *rand.Rand, a *rawRequest) { a.body = a.body[:r.IntN(len(a.body)+1)] }),
	simpleMutation("a duplicated part", func(r *rand.Rand, a *rawRequest) {
		from := r.IntN(len(a.body) + 1)
		part := a.body[from : from+r.IntN(len(a.body)-from+1)]
		a.body = slices.Concat(a.body[:from], part, a.body[from:])
	}),
	simpleMutation("large", func(r *rand.Rand, a *rawRequest) {
		if at := bytes.IndexByte(a.body, '{'); at >= 0 && len(a.body) > 2 && r.IntN(10) == 0 {
			a.body = slices.Concat(a.body[:at+1], []byte(`"large":"`+strings.Repeat("x", 1<<20-r.IntN(300))+`",`), a.body[at+1:])
		}
	}),
}

// replaceRandomValue replaces the value at a random place of the JSON body. An empty value removes the place.
func (a *rawRequest) replaceRandomValue(r *rand.Rand, value func() string) {
	var body any
	if decodeNumbers(a.body, &body) != nil {
		return
	}
	pointers := valuePaths(body, nil)
	if len(pointers) == 0 {
		return
	}
	const marker = "019bc0a4-7c10-7f3a-8d55-marker000000"
	at := pick(r, pointers)
	replacement := value()
	if body = replaceAt(body, at, marker, replacement == ""); body != nil {
		a.body = bytes.ReplaceAll(must(json.Marshal(body)), []byte(`"`+marker+`"`), []byte(replacement))
	}
}

func decodeNumbers(body []byte, into *any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	return decoder.Decode(into)
}

// valuePaths returns the paths to all values within a value, in a stable order.
func valuePaths(value any, path []any) [][]any {
	var found [][]any
	switch value := value.(type) {
	case object:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			at := append(slices.Clone(path), key)
			found = append(append(found, at), valuePaths(value[key], at)...)
		}
	case []any:
		for i, item := range value {
			at := append(slices.Clone(path), i)
			found = append(append(found, at), valuePaths(item, at)...)
		}
	}
	return found
}

func replaceAt(value any, path []any, with any, isRemoved bool) any {
	switch value := value.(type) {
	case object:
		key := path[0].(string)
		switch {
		case len(path) > 1:
			value[key] = replaceAt(value[key], path[1:], with, isRemoved)
		case isRemoved:
			delete(value, key)
		default:
			value[key] = with
		}
	case []any:
		i := path[0].(int)
		switch {
		case len(path) > 1:
			value[i] = replaceAt(value[i], path[1:], with, isRemoved)
		case isRemoved:
			return slices.Delete(value, i, i+1)
		default:
			value[i] = with
		}
	}
	return value
}

// randomID returns an ID: of the caller, of another organization or unknown, of a matching or of any kind.
func (g *requestGenerator) randomID(r *rand.Rand) string {
	all := pick(r, []resourceIDs{g.own, g.own, g.foreign, unknownIDs()})
	return all[pick(r, slices.Sorted(maps.Keys(all)))]
}
