package httpapi

import (
	"encoding/hex"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// What follows appends JSON to a buffer, byte for byte as encoding/json writes it where it
// escapes HTML.

// isPlain tells which bytes of valid UTF-8 stand for themselves in a string. 0xE2 begins
// U+2028 and U+2029, which do not.
var isPlain = func() (plain [256]bool) {
	for b := range plain {
		plain[b] = b >= ' '
	}
	for _, b := range []byte("\"\\<>&\xE2") {
		plain[b] = false
	}
	return plain
}()

const hexDigits = "0123456789abcdef"

// appendString appends text as a JSON string.
func appendString[T string | []byte](to []byte, text T) []byte {
	start := len(to)
	to = append(to, '"')
	begin := 0
	for i := 0; i < len(text); i++ {
		b := text[i]
		if isPlain[b] {
			continue
		}
		if b == 0xE2 {
			if isLineSeparator(text[i:]) {
				to = append(to, text[begin:i]...)
				to = append(to, `\u202`...)
				to = append(to, hexDigits[text[i+2]&0xF])
				begin = i + 3
			}
			i += 2
			continue
		}
		to = append(to, text[begin:i]...)
		begin = i + 1
		switch b {
		case '"', '\\':
			to = append(to, '\\', b)
		case '\b':
			to = append(to, `\b`...)
		case '\f':
			to = append(to, `\f`...)
		case '\n':
			to = append(to, `\n`...)
		case '\r':
			to = append(to, `\r`...)
		case '\t':
			to = append(to, `\t`...)
		default:
			to = append(to, `\u00`...)
			to = append(to, hexDigits[b>>4], hexDigits[b&0xF])
		}
	}
	to = append(to, text[begin:]...)
	to = append(to, '"')
	if !utf8.Valid(to[start:]) {
		// PostgreSQL sends none; encoding/json does as it likes with it, and does not fail.
		quoted, _ := json.Marshal(string(text))
		return append(to[:start], quoted...)
	}
	return to
}

// isLineSeparator tells whether text begins with U+2028 or U+2029.
func isLineSeparator[T string | []byte](text T) bool {
	return len(text) > 2 && text[0] == 0xE2 && text[1] == 0x80 && text[2]&^1 == 0xA8
}

// appendCompact appends a JSON text, which must be one, without the space between its
// parts.
func appendCompact(to, text []byte) []byte {
	begin, isInString := 0, false
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == '"':
			isInString = !isInString
		case b == '\\':
			i++ // what follows is escaped
		case b == '<' || b == '>' || b == '&':
			to = append(to, text[begin:i]...)
			to = append(to, `\u00`...)
			to = append(to, hexDigits[b>>4], hexDigits[b&0xF])
			begin = i + 1
		case b == 0xE2 && isLineSeparator(text[i:]):
			to = append(to, text[begin:i]...)
			to = append(to, `\u202`...)
			to = append(to, hexDigits[text[i+2]&0xF])
			begin = i + 3
			i += 2
		case !isInString && (b == ' ' || b == '\t' || b == '\n' || b == '\r'):
			to = append(to, text[begin:i]...)
			begin = i + 1
		}
	}
	return append(to, text[begin:]...)
}

// appendUUID appends an id in its plain form.
func appendUUID(to []byte, id uuid.UUID) []byte {
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return append(to, text[:]...)
}

// appendStamp appends a time as timeFormat has it, some times faster.
func appendStamp(to []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(to, timeFormat)
	}
	hour, minute, second := t.Clock()
	micros := t.Nanosecond() / 1000
	to = append(appendTwo(appendTwo(to, year/100), year%100), '-')
	to = append(appendTwo(to, int(month)), '-')
	to = append(appendTwo(to, day), 'T')
	to = append(appendTwo(to, hour), ':')
	to = append(appendTwo(to, minute), ':')
	to = append(appendTwo(to, second), '.')
	return append(appendTwo(appendTwo(appendTwo(to, micros/10_000), micros/100%100), micros%100), 'Z')
}

// appendTwo appends a number below 100 in two digits.
func appendTwo(to []byte, number int) []byte {
	return append(to, byte('0'+number/10), byte('0'+number%10))
}
