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

// way is a named mutation of requests. make binds it to an organization.
type way struct {
	name string
	make func(f *battlefield) func(r *rand.Rand, a *attempt)
}

// plain returns a mutation that needs no data of the organization.
func plain(name string, do func(r *rand.Rand, a *attempt)) way {
	return way{name, func(*battlefield) func(*rand.Rand, *attempt) { return do }}
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

// bodyHostilities are mutations of JSON bodies.
var bodyHostilities = []way{
	plain("another value", func(r *rand.Rand, a *attempt) { a.atRandom(r, func() string { return pick(r, jsonValues) }) }),
	plain("another text", func(r *rand.Rand, a *attempt) {
		a.atRandom(r, func() string { return string(must(json.Marshal(pick(r, texts)))) })
	}),
	plain("a random text", func(r *rand.Rand, a *attempt) {
		a.atRandom(r, func() string {
			var text strings.Builder
			for range r.IntN(40) {
				text.WriteRune(rune(r.IntN(1 << (4 + r.IntN(17)))))
			}
			return string(must(json.Marshal(text.String())))
		})
	}),
	{"another's id", func(f *battlefield) func(*rand.Rand, *attempt) {
		return func(r *rand.Rand, a *attempt) {
			a.atRandom(r, func() string { return string(must(json.Marshal(f.anyID(r)))) })
		}
	}},
	plain("a key taken away", func(r *rand.Rand, a *attempt) { a.atRandom(r, func() string { return "" }) }),
	plain("a key twice", func(r *rand.Rand, a *attempt) {
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
	plain("another key", func(r *rand.Rand, a *attempt) {
		key := pick(r, []string{
			"Content", "CONTENT", "content", "unknown", "", "id", "organization_id", "organizationId", "user_id", "scopes", "isAdmin", "__proto__", "is_streaming", "isStreaming", "query_metadata", "web_chat",
			"canvas_type", "content_payload", "conversation", "conversation_id", "session_id", "type", "sender", "metadata", "con\\u0074ent", "content\\u0000", "\\ud800",
		})
		if at := bytes.IndexByte(a.body, '{'); at >= 0 && len(a.body) > 2 {
			a.body = slices.Concat(a.body[:at+1], []byte(`"`+key+`":`+pick(r, jsonValues)+","), a.body[at+1:])
		}
	}),
	plain("the whole body", func(r *rand.Rand, a *attempt) { a.body = []byte(pick(r, jsonValues)) }),
	plain("around the body", func(r *rand.Rand, a *attempt) {
		around := pick(r, [][2]string{{"[", "]"}, {"\ufeff", ""}, {" \n", "\n "}, {"", "{}"}, {"", "]"}, {"{", "}"}, {"\x00", ""}, {"", "\x00"}, {`{"body":`, "}"}, {"//\n", ""}, {"", ","}, {")]}',\n", ""}})
		a.body = slices.Concat([]byte(around[0]), a.body, []byte(around[1]))
	}),
	plain("bytes changed", func(r *rand.Rand, a *attempt) {
		a.body = slices.Clone(a.body)
		for range 1 + r.IntN(3) {
			if len(a.body) > 0 {
				a.body[r.IntN(len(a.body))] = byte(r.IntN(256))
			}
		}
	}),
	plain("broken off", func(r *rand.Rand, a *attempt) { a.body = a.body[:r.IntN(len(a.body)+1)] }),
	plain("a part twice", func(r *rand.Rand, a *attempt) {
		from := r.IntN(len(a.body) + 1)
		part := a.body[from : from+r.IntN(len(a.body)-from+1)]
		a.body = slices.Concat(a.body[:from], part, a.body[from:])
	}),
	plain("large", func(r *rand.Rand, a *attempt) {
		if at := bytes.IndexByte(a.body, '{'); at >= 0 && len(a.body) > 2 && r.IntN(10) == 0 {
			a.body = slices.Concat(a.body[:at+1], []byte(`"large":"`+strings.Repeat("x", 1<<20-r.IntN(300))+`",`), a.body[at+1:])
		}
	}),
}

// atRandom replaces the value at a random place of the JSON body. An empty value removes the place.
func (a *attempt) atRandom(r *rand.Rand, value func() string) {
	var body any
	if decodeNumbers(a.body, &body) != nil {
		return
	}
	pointers := pointersOf(body, nil)
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

// pointersOf returns the paths to all values within a value, in a stable order.
func pointersOf(value any, way []any) [][]any {
	var found [][]any
	switch value := value.(type) {
	case object:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			at := append(slices.Clone(way), key)
			found = append(append(found, at), pointersOf(value[key], at)...)
		}
	case []any:
		for i, item := range value {
			at := append(slices.Clone(way), i)
			found = append(append(found, at), pointersOf(item, at)...)
		}
	}
	return found
}

func replaceAt(value any, way []any, with any, isRemoved bool) any {
	switch value := value.(type) {
	case object:
		key := way[0].(string)
		switch {
		case len(way) > 1:
			value[key] = replaceAt(value[key], way[1:], with, isRemoved)
		case isRemoved:
			delete(value, key)
		default:
			value[key] = with
		}
	case []any:
		i := way[0].(int)
		switch {
		case len(way) > 1:
			value[i] = replaceAt(value[i], way[1:], with, isRemoved)
		case isRemoved:
			return slices.Delete(value, i, i+1)
		default:
			value[i] = with
		}
	}
	return value
}

// anyID returns an ID: of the caller, of another organization or unknown, of a matching or of any kind.
func (f *battlefield) anyID(r *rand.Rand) string {
	all := pick(r, []things{f.own, f.own, f.foreign, nothing()})
	return all[pick(r, slices.Sorted(maps.Keys(all)))]
}
