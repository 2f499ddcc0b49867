package bot

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// slugLength leaves room for a suffix in the 63 characters that a slug may have.
const slugLength = 50

// slugOf makes a slug of a name: its ASCII letters and digits, with hyphens between the words. Accents are dropped; a
// name with letters beyond that gets a slug by chance, as does one that looks like an id. With unique there is a
// random suffix.
func slugOf(name string, unique bool) (string, error) {
	slug := asciiSlug(name)
	if _, ok := parseID(slug); ok {
		slug = ""
	}
	if slug == "" {
		slug, unique = "bot", true
	}
	if !unique {
		return slug, nil
	}
	var suffix [3]byte
	if _, err := rand.Read(suffix[:]); err != nil {
		return "", err
	}
	return slug + "-" + hex.EncodeToString(suffix[:]), nil
}

// asciiSlug is empty when a letter of the name would be lost.
func asciiSlug(name string) string {
	var slug strings.Builder
	hyphen := false
	for _, r := range norm.NFKD.String(name) {
		r = unicode.ToLower(r)
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			if hyphen && slug.Len() > 0 {
				slug.WriteByte('-')
			}
			slug.WriteRune(r)
			hyphen = false
		case unicode.IsLetter(r):
			return ""
		case r == '\'' || unicode.IsMark(r): // inside a word
		default:
			hyphen = true
		}
		if slug.Len() >= slugLength {
			break
		}
	}
	return slug.String()
}

// orElse returns text, or instead where text is blank.
func orElse(text, instead string) string {
	if strings.TrimSpace(text) == "" {
		return instead
	}
	return text
}
