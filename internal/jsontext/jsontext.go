// Package jsontext cleans JSON that callers send, in request bodies and WebSocket frames, so that
// PostgreSQL can store it, and appends JSON to buffers.
package jsontext

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"parley/internal/apperr"
)

const (
	// MaxDepth is the maximum nesting depth of a document.
	MaxDepth = 100
	// MaxValues is the maximum number of values in a document, which bounds the memory for decoding
	// it: a decoded value takes many times the space of a short one in the document.
	MaxValues = 50_000
)

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// Escape returns a key as a segment of a JSON Pointer (RFC 6901).
func Escape(key string) string { return pointerEscapes.Replace(key) }

// Clean returns a document that PostgreSQL can store. Invalid UTF-8 and lone surrogates become
// U+FFFD. Invalid JSON, NUL characters in strings, nesting deeper than MaxDepth and exponents of
// more than three digits are InvalidRequest errors. More than MaxValues values are TooLarge. It may
// change the document in place.
func Clean(body []byte) ([]byte, error) {
	body = bytes.TrimPrefix(body, []byte("\uFEFF"))
	if !utf8.Valid(body) {
		body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
	}
	if !json.Valid(body) {
		return nil, syntaxError(body)
	}
	hasNUL, err := scan(body)
	if err != nil {
		return nil, err
	}
	if hasNUL {
		return nil, apperr.Field(apperr.InvalidRequest, pointerToNUL(body), "must not contain a NUL character")
	}
	return body, nil
}

// syntaxError returns the error for a document that is not valid JSON.
func syntaxError(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return &apperr.Error{
			Kind:       apperr.InvalidRequest,
			Message:    "The body is missing.",
			Violations: []apperr.Violation{{In: "body", Detail: "is missing"}},
		}
	}
	var ignored any
	err := json.Unmarshal(body, &ignored)
	detail := "is not valid JSON"
	if syntaxErr, ok := errors.AsType[*json.SyntaxError](err); ok {
		detail = fmt.Sprintf("is not valid JSON: syntax error at byte %d", syntaxErr.Offset)
	}
	return &apperr.Error{
		Kind:       apperr.InvalidRequest,
		Message:    "The body " + detail + ".",
		Violations: []apperr.Violation{{In: "body", Detail: detail}},
		Err:        err,
	}
}

// scan checks depth, values and exponents of a valid document, replaces lone surrogates in place (the
// escapes have equal length), and reports whether a string contains NUL.
func scan(body []byte) (hasNUL bool, err error) {
	depth, values := 0, 1
	isInString := false
	for i := 0; i < len(body); i++ {
		b := body[i]
		switch {
		case isInString && b == '"':
			isInString = false
		case isInString && b == '\\':
			i++
			if body[i] != 'u' {
				continue
			}
			switch code := hex4(body[i+1:]); {
			case code == 0:
				hasNUL = true
			case code >= 0xD800 && code < 0xDC00 && isLowSurrogate(body[i+5:]):
				i += 6
			case code >= 0xD800 && code < 0xE000:
				copy(body[i+1:], "fffd")
			}
			i += 4
		case isInString:
		case b == '"':
			isInString = true
		case b == ',':
			values++ // a container has one value more than commas
		case b == '{' || b == '[':
			values++
			if depth++; depth > MaxDepth {
				return false, apperr.New(apperr.InvalidRequest, fmt.Sprintf("The JSON can be nested at most %d levels deep.", MaxDepth))
			}
		case b == '}' || b == ']':
			if isEmptyAt(body[:i]) {
				values--
			}
			depth--
		case (b == 'e' || b == 'E') && i > 0 && body[i-1] >= '0' && body[i-1] <= '9':
			if exponentDigits(body[i+1:]) > 3 {
				return false, apperr.New(apperr.InvalidRequest, "The exponent of a number can have at most three digits.")
			}
		}
	}
	if values > MaxValues {
		return false, apperr.New(apperr.TooLarge, fmt.Sprintf("The JSON can have at most %d values.", MaxValues))
	}
	return hasNUL, nil
}

// isEmptyAt reports whether a container is empty that ends after a text.
func isEmptyAt(before []byte) bool {
	before = bytes.TrimRight(before, " \n\t\r")
	return before[len(before)-1] == '{' || before[len(before)-1] == '['
}

// hex4 returns the value of the four hexadecimal digits of an escape.
func hex4(digits []byte) uint64 {
	code, err := strconv.ParseUint(string(digits[:4]), 16, 16)
	if err != nil {
		panic(err) // cannot happen: the document is valid JSON
	}
	return code
}

func isLowSurrogate(rest []byte) bool {
	if len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' {
		return false
	}
	code := hex4(rest[2:])
	return code >= 0xDC00 && code < 0xE000
}

func exponentDigits(rest []byte) int {
	n := 0
	for _, b := range bytes.TrimLeft(rest, "+-") {
		if b < '0' || b > '9' {
			break
		}
		n++
	}
	return n
}

// pointerToNUL returns a pointer to the first string with a NUL, in the order of the keys.
func pointerToNUL(body []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // numbers can exceed float64
	var document any
	if err := decoder.Decode(&document); err != nil {
		return ""
	}
	pointer, _ := findNUL(document, "")
	return pointer
}

func findNUL(value any, pointer string) (string, bool) {
	switch value := value.(type) {
	case string:
		return pointer, strings.ContainsRune(value, 0)
	case []any:
		for i, item := range value {
			if found, ok := findNUL(item, fmt.Sprintf("%s/%d", pointer, i)); ok {
				return found, true
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			at := pointer + "/" + Escape(strings.ReplaceAll(key, "\x00", "\uFFFD"))
			if strings.ContainsRune(key, 0) {
				return at, true
			}
			if found, ok := findNUL(value[key], at); ok {
				return found, true
			}
		}
	}
	return "", false
}
