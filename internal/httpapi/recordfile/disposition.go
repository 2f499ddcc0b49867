package recordfile

import (
	"fmt"
	"strings"
	"unicode"
)

// contentDisposition returns the Content-Disposition of a file: with the full name, and with an
// ASCII name for old clients (RFC 6266). Scripts that take what follows the last "filename=" expect
// the ASCII name there.
func contentDisposition(ascii, name string) string {
	return fmt.Sprintf(`attachment; filename*=UTF-8''%s; filename="%s"`, percentEncode(strings.Map(toFilename, name)), strings.Map(toUnreserved, ascii))
}

// toUnreserved replaces every character that needs quoting somewhere.
func toUnreserved(r rune) rune {
	if isUnreserved(r) {
		return r
	}
	return '-'
}

// toFilename replaces characters that some file system forbids, and those that disguise a name.
func toFilename(r rune) rune {
	if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || strings.ContainsRune(`/\:*?"<>|`, r) {
		return '-'
	}
	return r
}

// percentEncode encodes every byte that is not unreserved (RFC 8187).
func percentEncode(name string) string {
	var encoded strings.Builder
	for _, b := range []byte(name) {
		if isUnreserved(rune(b)) {
			encoded.WriteByte(b)
		} else {
			fmt.Fprintf(&encoded, "%%%02X", b)
		}
	}
	return encoded.String()
}

func isUnreserved(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
}
