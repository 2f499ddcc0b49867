package xlsx

import (
	"strings"
	"unicode/utf8"
)

const (
	// maxUnits is the length of a cell's text in UTF-16 units.
	maxUnits = 32_767
	ellipsis = "…"
)

// Cut tells what of a text fits into a cell. Text that fits comes back whole, with
// no rest. Of any other, head leaves room for mark, which the caller writes behind
// it, and rest is what is left, never with half a character. The pieces for an
// overflow sheet are cut from the rest with an empty mark:
//
//	head, rest := xlsx.Cut(text, mark)
//	for piece := ""; rest != ""; {
//		piece, rest = xlsx.Cut(rest, "")
//		…
//	}
//
// The pieces' texts in their order, head first, are the text.
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

// fitting is the number of bytes at text's start that make at most room units.
func fitting(text string, room int) int {
	for i, r := range text {
		if room -= units(r); room < 0 {
			return i
		}
	}
	return len(text)
}

// units is the length of a character in UTF-16.
func units(r rune) int {
	if r > 0xFFFF {
		return 2
	}
	return 1
}

// temptsEditor reports whether text would be taken for a formula if somebody typed
// it. The cell holds text all the same; but Excel reads a cell anew when somebody
// opens it for editing and leaves it, so these cells are marked as quoted. Excel
// for East Asia takes the full-width signs too.
func temptsEditor(text string) bool {
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

// plain tells the bytes that text may have in XML as they are.
var plain = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = c >= ' ' || c == '\t' || c == '\n'
	}
	for _, c := range []byte("&<>_\xEF") {
		plain[c] = false
	}
	return plain
}()

// appendText appends text as XML, escaped as the package's comment says.
func appendText(buf []byte, text string) []byte {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	done := 0 // what is already appended
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
			escape = "&#13;" // bare, XML would turn it into LF
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

// looksEscaped reports whether text, which begins with an underscore, goes on like
// an escape of one to four digits. What closes it need not be an underscore yet:
// the escape of a character that is not plain may begin with one.
func looksEscaped(text string) bool {
	if len(text) < len("_xH_") || text[1] != 'x' {
		return false
	}
	digits := text[2:min(len(text), 6)]
	rest := strings.TrimLeft(digits, "0123456789ABCDEFabcdef")
	end := 2 + len(digits) - len(rest)
	return end > 2 && end < len(text) && !plain[text[end]]
}

// controls are the escapes of the control characters.
var controls = func() (escapes [' ']string) {
	const digits = "0123456789ABCDEF"
	for c := range escapes {
		escapes[c] = "_x00" + digits[c>>4:c>>4+1] + digits[c&15:c&15+1] + "_"
	}
	return escapes
}()
