package jsontext_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"parley/internal/apperr"
	"parley/internal/jsontext"
)

// For any bytes: JSON that jsontext accepts is returned as valid UTF-8 without NUL or lone surrogates, with the same
// meaning. Other input is rejected as an error of the caller.
func FuzzCleanJSON(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[1,2.5,-0,1e5,1E+999,1e-999]`, `1e1000`, `{"a":"\u0000"}`, `{"\u0000":1}`, `"\ud800"`, `"\ud83d\ude42"`, `"\udc00\ud800"`, `"\ud83d\ud83d\ude42"`,
		`"\\ud800"`, `"\\\ud800"`, `"\\u0000"`, `"\""`, "\"a\x00b\"", "\"\xff\xfe\"", "\uFEFF{}", "\xed\xa0\x80", `{"a":{"b":[{"c~/d":"\u0000"}]}}`, `"e1000"`, `"1e1000"`,
		`{"e99999":1}`, `[[[[`, strings.Repeat("[", 101) + strings.Repeat("]", 101), strings.Repeat("[", 100) + strings.Repeat("]", 100), `{"a":1}{"b":2}`, `{"a":1,}`, `1e0001`, `"\ud8`,
		`"\ud800\u"`, `"\ud800\`, `{"\ud800":"\udfff"}`, "\u2028", `tru`, `-`, `0123`, `"\u00e9\u5B57"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		given := bytes.Clone(body)
		cleaned, err := jsontext.Clean(bytes.Clone(body))
		if err != nil {
			if !apperr.Is(err, apperr.InvalidRequest) && !apperr.Is(err, apperr.TooLarge) {
				t.Fatalf("%q: %v", given, err)
			}
			return
		}
		if !json.Valid(cleaned) || !utf8.Valid(cleaned) {
			t.Fatalf("%q became %q", given, cleaned)
		}
		var was, is any
		if err := decodeNumbers(bytes.TrimPrefix(given, []byte("\uFEFF")), &was); err != nil {
			return // invalid UTF-8 outside of strings was replaced, or two documents were joined
		}
		if err := decodeNumbers(cleaned, &is); err != nil {
			t.Fatalf("%q became %q: %v", given, cleaned, err)
		}
		// The standard library replaces lone surrogates and invalid bytes in the same way.
		if utf8.Valid(given) && !reflect.DeepEqual(was, is) {
			t.Fatalf("%q became %q", given, cleaned)
		}
		if depth := depthOf(is); depth > jsontext.MaxDepth {
			t.Fatalf("%q is %d deep", given, depth)
		}
		if hasNUL(is) || hasLoneSurrogate(cleaned) {
			t.Fatalf("%q became %q", given, cleaned)
		}
	})
}

func decodeNumbers(body []byte, into *any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	return decoder.Decode(into)
}

func depthOf(value any) int {
	deepest := 0
	switch value := value.(type) {
	case map[string]any:
		for _, item := range value {
			deepest = max(deepest, depthOf(item))
		}
	case []any:
		for _, item := range value {
			deepest = max(deepest, depthOf(item))
		}
	default:
		return 0
	}
	return deepest + 1
}

func hasNUL(value any) bool {
	switch value := value.(type) {
	case string:
		return strings.ContainsRune(value, 0)
	case map[string]any:
		for key, item := range value {
			if hasNUL(key) || hasNUL(item) {
				return true
			}
		}
	case []any:
		for _, item := range value {
			if hasNUL(item) {
				return true
			}
		}
	}
	return false
}

// hasLoneSurrogate reports whether the JSON contains an escaped lone surrogate, by PostgreSQL's rules.
func hasLoneSurrogate(body []byte) bool {
	high := false
	for i := 0; i < len(body); i++ {
		isHigh := false
		if body[i] == '\\' {
			if body[i+1] == 'u' {
				switch digits := strings.ToLower(string(body[i+2 : i+6])); {
				case digits >= "d800" && digits < "dc00":
					isHigh = true
				case digits >= "dc00" && digits < "e000":
					if !high {
						return true
					}
					high = false
				}
				i += 5
			} else {
				i++
			}
			if high {
				return true
			}
			high = isHigh
			continue
		}
		if high {
			return true
		}
	}
	return high
}
