package llm

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// plainDelta returns the text of a plain chunk: one choice whose delta has some text, and nothing else that matters.
// Nearly all chunks are plain. It allocates only the text, while encoding/json, with a dozen values created by
// reflection, would be most of the cost of a token.
//
// If in doubt, a chunk is not plain: malformed JSON, duplicate members or other spellings that encoding/json would
// accept, errors, usage, finish reasons. decodeChunk decodes these.
func plainDelta(chunk []byte) (text string, isPlain bool) {
	if !utf8.Valid(chunk) {
		return "", false
	}
	s := scanner{rest: chunk}
	hasChoices := false
	isPlain = s.object(func(name []byte) bool {
		switch string(name) {
		case "choices":
			if hasChoices {
				return false
			}
			hasChoices = true
			return s.byte('[') && s.choice(&text) && s.byte(']')
		case "error", "usage":
			return s.literal("null")
		case "object", "type":
			before := s.rest
			return s.scalar() && !bytes.Contains(before[:len(before)-len(s.rest)], []byte(`"error"`))
		}
		return s.scalar()
	})
	s.skipSpace()
	return text, isPlain && text != "" && len(s.rest) == 0
}

// choice scans the only choice of a chunk.
func (s *scanner) choice(text *string) bool {
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "index":
			return s.literal("0")
		case "delta":
			return *text == "" && s.object(func(name []byte) bool {
				switch string(name) {
				case "content":
					return *text == "" && s.text(text)
				case "refusal":
					return s.literal("null")
				}
				return s.scalar() // beside a text, other signs of progress do not matter
			})
		case "message", "finish_reason", "error":
			return s.literal("null")
		}
		return s.scalar()
	})
}

// scanner scans the JSON of plain chunks. Each method skips white space, consumes one element, and
// reports whether it was there. After a false result the position is undefined.
type scanner struct{ rest []byte }

func (s *scanner) skipSpace() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\n' || s.rest[0] == '\t' || s.rest[0] == '\r') {
		s.rest = s.rest[1:]
	}
}

// byte consumes a byte.
func (s *scanner) byte(want byte) bool {
	s.skipSpace()
	if len(s.rest) == 0 || s.rest[0] != want {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// literal consumes a value of exactly this spelling.
func (s *scanner) literal(value string) bool {
	s.skipSpace()
	if len(s.rest) <= len(value) || string(s.rest[:len(value)]) != value || bytes.IndexByte([]byte(" \t\r\n,]}"), s.rest[len(value)]) < 0 {
		return false
	}
	s.rest = s.rest[len(value):]
	return true
}

// object consumes an object whose values are consumed by member. A name with an upper-case letter
// is rejected, because encoding/json ignores the case of names.
func (s *scanner) object(member func(name []byte) bool) bool {
	if !s.byte('{') {
		return false
	}
	for {
		name, hasEscape, ok := s.quoted()
		if !ok || hasEscape || !isLowerCase(name) || !s.byte(':') || !member(name) {
			return false
		}
		if s.byte('}') {
			return true
		}
		if !s.byte(',') {
			return false
		}
	}
}

func isLowerCase(name []byte) bool {
	for _, b := range name {
		if b >= 'A' && b <= 'Z' || b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// quoted consumes a string and returns the bytes between its quotes, with escapes as they are.
func (s *scanner) quoted() (inside []byte, hasEscape, ok bool) {
	if !s.byte('"') {
		return nil, false, false
	}
	for i := 0; i < len(s.rest); i++ {
		switch b := s.rest[i]; {
		case b == '"':
			inside, s.rest = s.rest[:i], s.rest[i+1:]
			return inside, hasEscape, true
		case b == '\\':
			hasEscape = true
			i++
		case b < ' ':
			return nil, false, false
		}
	}
	return nil, false, false
}

// text consumes a string and stores its value.
func (s *scanner) text(value *string) bool {
	s.skipSpace()
	start := s.rest
	inside, hasEscape, ok := s.quoted()
	if ok && hasEscape {
		if incompleteTail(inside) < len(inside) {
			return false
		}
		var decoded string // a separate variable, so that value does not escape to the heap
		ok = json.Unmarshal(start[:len(start)-len(s.rest)], &decoded) == nil
		*value = decoded
		return ok
	}
	*value = string(inside)
	return ok
}

// scalar consumes a string without escapes, a non-negative integer, null, true or false.
func (s *scanner) scalar() bool {
	s.skipSpace()
	if len(s.rest) > 0 && s.rest[0] == '"' {
		_, hasEscape, ok := s.quoted()
		return ok && !hasEscape
	}
	if s.literal("null") || s.literal("0") || s.literal("false") || s.literal("true") {
		return true
	}
	digits := 0
	for digits < len(s.rest) && s.rest[digits] >= '0' && s.rest[digits] <= '9' {
		digits++
	}
	return digits > 0 && s.rest[0] != '0' && s.literal(string(s.rest[:digits]))
}
