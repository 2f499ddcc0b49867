package jsontext

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// TimeFormat is the layout of times in UTC: RFC 3339 with exactly six fraction digits and Z.
const TimeFormat = "2006-01-02T15:04:05.000000Z"

// FormatTime returns a time in TimeFormat.
func FormatTime(t time.Time) string { return t.UTC().Format(TimeFormat) }

// isPlain holds the bytes of valid UTF-8 that are written unescaped in a string. 0xE2 and 0xC2 are
// not among them: they begin U+2028, U+2029 and U+0085, at which some readers end a line.
var isPlain = func() (plain [256]bool) {
	for b := range plain {
		plain[b] = b >= ' '
	}
	for _, b := range []byte("\"\\<>&\xE2\xC2") {
		plain[b] = false
	}
	return plain
}()

const hexDigits = "0123456789abcdef"

// nextLine is U+0085, a line break for Python's splitlines and other readers.
const nextLine = "\u0085"

// EscapeNextLine escapes each U+0085 in JSON. encoding/json leaves them unescaped.
func EscapeNextLine(data []byte) []byte {
	return bytes.ReplaceAll(data, []byte(nextLine), []byte(`\u0085`))
}

// AppendString appends text as a JSON string. The bytes are those that encoding/json writes with HTML
// escaping, except that U+0085 is escaped too.
func AppendString[T string | []byte](to []byte, text T) []byte {
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
		if b == 0xC2 {
			if len(text) > i+1 && text[i+1] == nextLine[1] {
				to = append(append(to, text[begin:i]...), `\u0085`...)
				begin = i + 2
			}
			i++
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
			to = appendEscaped(to, b)
		}
	}
	to = append(to, text[begin:]...)
	to = append(to, '"')
	if !utf8.Valid(to[start:]) {
		// PostgreSQL sends valid UTF-8 only. Otherwise encoding/json replaces what is invalid.
		quoted, _ := json.Marshal(string(text))
		return append(to[:start], EscapeNextLine(quoted)...)
	}
	return to
}

// appendEscaped appends an ASCII character as \u00XX.
func appendEscaped(to []byte, b byte) []byte {
	return append(append(to, `\u00`...), hexDigits[b>>4], hexDigits[b&0xF])
}

// isLineSeparator reports whether text begins with U+2028 or U+2029.
func isLineSeparator[T string | []byte](text T) bool {
	return len(text) > 2 && text[0] == 0xE2 && text[1] == 0x80 && text[2]&^1 == 0xA8
}

// AppendCompact appends valid JSON without insignificant space. The bytes are those that encoding/json writes for a
// json.RawMessage, except that U+0085 is escaped.
func AppendCompact(to, text []byte) []byte {
	begin, isInString := 0, false
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == '"':
			isInString = !isInString
		case b == '\\':
			i++ // skip the escaped character
		case b == '<' || b == '>' || b == '&':
			to = appendEscaped(append(to, text[begin:i]...), b)
			begin = i + 1
		case b == 0xE2 && isLineSeparator(text[i:]):
			to = append(to, text[begin:i]...)
			to = append(to, `\u202`...)
			to = append(to, hexDigits[text[i+2]&0xF])
			begin = i + 3
			i += 2
		case b == 0xC2 && i+1 < len(text) && text[i+1] == nextLine[1]:
			to = append(append(to, text[begin:i]...), `\u0085`...)
			begin = i + 2
			i++
		case !isInString && (b == ' ' || b == '\t' || b == '\n' || b == '\r'):
			to = append(to, text[begin:i]...)
			begin = i + 1
		}
	}
	return append(to, text[begin:]...)
}

// AppendUUID appends an ID in its canonical form, without quotes.
func AppendUUID(to []byte, id uuid.UUID) []byte {
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return append(to, text[:]...)
}

// AppendTime appends a time in TimeFormat, without quotes. It is several times faster than
// time.AppendFormat.
func AppendTime(to []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(to, TimeFormat)
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

// appendTwo appends a number below 100 as two digits.
func appendTwo(to []byte, number int) []byte {
	return append(to, byte('0'+number/10), byte('0'+number%10))
}
