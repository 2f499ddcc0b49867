package llm

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// plainDelta returns what a chunk says where it is like nearly all of them are: one choice whose delta is some text, and
// nothing else that matters. It allocates the text alone, and encoding/json, with a dozen values made by reflection, is
// most of what a token would cost otherwise. Whatever it does not know for certain is not plain, and for encoding/json
// to judge: broken JSON, names spelled or told twice in ways that it would take, errors, usage, reasons to end.
func plainDelta(chunk []byte) (text string, isPlain bool) {
	if !utf8.Valid(chunk) {
		return "", false
	}
	s := scan{rest: chunk}
	hasChoices := false
	isPlain = s.object(func(name []byte) bool {
		switch string(name) {
		case "choices":
			if hasChoices {
				return false
			}
			hasChoices = true
			return s.take('[') && s.choice(&text) && s.take(']')
		case "error", "usage":
			return s.word("null")
		}
		return s.scalar()
	})
	s.skipSpace()
	return text, isPlain && text != "" && len(s.rest) == 0
}

// choice reads the one choice.
func (s *scan) choice(text *string) bool {
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "index":
			return s.word("0")
		case "delta":
			return *text == "" && s.object(func(name []byte) bool {
				if string(name) != "content" {
					return s.scalar() // beside a text no other sign of work matters
				}
				return *text == "" && s.text(text)
			})
		case "message", "finish_reason":
			return s.word("null")
		}
		return s.scalar()
	})
}

// scan reads the plain part of JSON; its methods tell whether they found what they look for.
type scan struct{ rest []byte }

func (s *scan) skipSpace() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\n' || s.rest[0] == '\t' || s.rest[0] == '\r') {
		s.rest = s.rest[1:]
	}
}

// take takes one sign, and the white space before it.
func (s *scan) take(sign byte) bool {
	s.skipSpace()
	if len(s.rest) == 0 || s.rest[0] != sign {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// word takes a value that is spelled so, and no longer.
func (s *scan) word(value string) bool {
	s.skipSpace()
	if len(s.rest) <= len(value) || string(s.rest[:len(value)]) != value || bytes.IndexByte([]byte(" \t\r\n,]}"), s.rest[len(value)]) < 0 {
		return false
	}
	s.rest = s.rest[len(value):]
	return true
}

// object takes an object, whose values member takes. A name in another spelling than ours would be known to
// encoding/json by its case: it is not plain.
func (s *scan) object(member func(name []byte) bool) bool {
	if !s.take('{') {
		return false
	}
	for {
		name, hasEscape, ok := s.quoted()
		if !ok || hasEscape || !isLowerCase(name) || !s.take(':') || !member(name) {
			return false
		}
		if s.take('}') {
			return true
		}
		if !s.take(',') {
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

// quoted takes a string and returns what is between its quotes, escapes and all.
func (s *scan) quoted() (inside []byte, hasEscape, ok bool) {
	if !s.take('"') {
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

// text takes a string.
func (s *scan) text(into *string) bool {
	s.skipSpace()
	whole := s.rest
	inside, hasEscape, ok := s.quoted()
	if ok && hasEscape {
		var decoded string // its own variable, or all texts would be allocated twice
		ok = json.Unmarshal(whole[:len(whole)-len(s.rest)], &decoded) == nil
		*into = decoded
		return ok
	}
	*into = string(inside)
	return ok
}

// scalar takes a string without escapes, a whole number, null, true or false.
func (s *scan) scalar() bool {
	s.skipSpace()
	if len(s.rest) > 0 && s.rest[0] == '"' {
		_, hasEscape, ok := s.quoted()
		return ok && !hasEscape
	}
	if s.word("null") || s.word("0") || s.word("false") || s.word("true") {
		return true
	}
	digits := 0
	for digits < len(s.rest) && s.rest[digits] >= '0' && s.rest[digits] <= '9' {
		digits++
	}
	return digits > 0 && s.rest[0] != '0' && s.word(string(s.rest[:digits]))
}
