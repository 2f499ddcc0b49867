package xlsx

import (
	"strings"
	"unicode/utf8"
)

const (
	// maxUnits is Excel's limit for the text of a cell, in UTF-16 units.
	maxUnits = 32_767
	ellipsis = "…"
)

// Cut splits a text that is too long for a cell. A text that fits is returned whole, with an
// empty rest. Otherwise head leaves room for mark, which the caller appends to it, and rest is
// the remainder. Cut never splits a character. Use an empty mark to split the rest into the
// pieces of an overflow sheet:
//
//	head, rest := xlsx.Cut(text, mark)
//	for piece := ""; rest != ""; {
//		piece, rest = xlsx.Cut(rest, "")
//		…
//	}
//
// The head and all pieces, in order, are the text.
func Cut(text, mark string) (head, rest string) {
	if len(text) <= maxUnits || fitting(text, maxUnits) == len(text) {
		return text, ""
	}
	room := maxUnits
	for _, r := range mark {
		room -= units(r)
	}
	n := fitting(text, room)
	return text[:n], text[n:]
}

// fitting returns the length in bytes of the longest prefix of text with at most room UTF-16
// units.
func fitting(text string, room int) int {
	for i, r := range text {
		if room -= units(r); room < 0 {
			return i
		}
	}
	return len(text)
}

// units returns the length of a character in UTF-16 units.
func units(r rune) int {
	if r > 0xFFFF {
		return 2
	}
	return 1
}

// looksLikeFormula reports whether Excel would parse text as a formula if a user typed it. The
// cell is text in the file, but Excel parses it again when a user edits the cell, so such cells
// get the quote prefix. East Asian versions of Excel accept full-width signs too.
func looksLikeFormula(text string) bool {
	for _, r := range text {
		switch r {
		case ' ', '\t', '\r', '\n', '\u00A0', '\u3000':
		case '=', '+', '-', '@', '＝', '＋', '－', '＠':
			return true
		default:
			return false
		}
	}
	return false
}

// plain holds the bytes that need no escape in XML.
var plain = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = c >= ' ' || c == '\t' || c == '\n'
	}
	for _, c := range []byte("&<>_\xEF") {
		plain[c] = false
	}
	return plain
}()

// appendText appends text as XML, escaped as the package comment says.
func appendText(buf []byte, text string) []byte {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	done := 0 // end of the appended part
	for i := 0; i < len(text); i++ {
		c := text[i]
		if plain[c] {
			continue
		}
		escape, size := "", 1
		switch c {
		case '&':
			escape = "&amp;"
		case '<':
			escape = "&lt;"
		case '>':
			escape = "&gt;"
		case '\r':
			escape = "&#13;" // XML parsers turn a bare CR into LF
		case '_':
			if looksEscaped(text[i:]) {
				escape = "_x005F_"
			}
		case 0xEF: // the first byte of U+F000 to U+FFFF
			switch text[i : i+3] {
			case "\uFFFE":
				escape, size = "_xFFFE_", 3
			case "\uFFFF":
				escape, size = "_xFFFF_", 3
			}
		default:
			escape = controls[c]
		}
		if escape == "" {
			continue
		}
		buf = append(buf, text[done:i]...)
		buf = append(buf, escape...)
		done = i + size
	}
	return append(buf, text[done:]...)
}

// looksEscaped reports whether text, which begins with an underscore, continues like an escape
// with one to four digits. The byte after the digits need not be an underscore: the escape of
// any byte that is not plain may begin with one.
func looksEscaped(text string) bool {
	if len(text) < len("_xH_") || text[1] != 'x' {
		return false
	}
	digits := text[2:min(len(text), 6)]
	rest := strings.TrimLeft(digits, "0123456789ABCDEFabcdef")
	end := 2 + len(digits) - len(rest)
	return end > 2 && end < len(text) && !plain[text[end]]
}

// controls holds the escapes of the control characters.
var controls = func() (escapes [' ']string) {
	const digits = "0123456789ABCDEF"
	for c := range escapes {
		escapes[c] = "_x00" + digits[c>>4:c>>4+1] + digits[c&15:c&15+1] + "_"
	}
	return escapes
}()
