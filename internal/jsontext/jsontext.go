// Package jsontext cleans JSON that callers send, in request bodies and WebSocket frames, so that
// PostgreSQL can store it, and appends JSON to buffers.
package jsontext

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"parley/internal/apperr"
)

const (
	// MaxDepth is the maximum nesting depth of a document.
	MaxDepth = 100
	// MaxValues is the maximum number of values in a document. It bounds the memory for decoding, because a decoded
	// value takes many times the space of a short value in the document.
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

// scan checks depth, values and exponents of a valid document, and replaces lone surrogates in place, by escapes of
// equal length. It reports whether a string contains NUL.
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

// pointerToNUL returns a pointer to the first key or string of a valid document with a NUL.
func pointerToNUL(body []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // numbers can exceed float64
	var parents []container
	for {
		token, err := decoder.Token()
		if err != nil {
			return "" // cannot happen: the document is valid and has a NUL
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			parents = parents[:len(parents)-1]
			continue
		}
		text, _ := token.(string)
		if len(parents) > 0 {
			parents[len(parents)-1].next(text)
		}
		switch {
		case strings.ContainsRune(text, 0):
			return pointerTo(parents)
		case token == json.Delim('{') || token == json.Delim('['):
			parents = append(parents, container{isObject: token == json.Delim('{'), index: -1})
		}
	}
}

// container is an array or object that is being read, with the place of its current value.
type container struct {
	isObject, isValue bool // isValue: the current token is the value of key
	key               string
	index             int
}

// next moves on to a token of the container, which is a key if it is an object and its last token was
// not one.
func (c *container) next(key string) {
	switch {
	case !c.isObject:
		c.index++
	case c.isValue:
		c.isValue = false
		return
	default:
		c.key = key
	}
	c.isValue = c.isObject
}

func pointerTo(parents []container) string {
	var pointer strings.Builder
	for _, c := range parents {
		name := strconv.Itoa(c.index)
		if c.isObject {
			name = Escape(strings.ReplaceAll(c.key, "\x00", "\uFFFD"))
		}
		pointer.WriteString("/" + name)
	}
	return pointer.String()
}
