package bot

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"parley/internal/apperr"
	"parley/internal/store"
)

const (
	maxSlug = 63
	// maxGeneratedSlug leaves room for a suffix.
	maxGeneratedSlug = 50
)

// slugPattern accepts the names that models have elsewhere, for example gpt-4.1, meta/llama-3 or qwen3:8b.
var slugPattern = regexp.MustCompile(`^[a-z0-9]+(([._:-]+|/)[a-z0-9]+)*$`)

func isSlug(slug string) bool { return len(slug) <= maxSlug && slugPattern.MatchString(slug) }

// checkSlug rejects slugs that are malformed or could be mistaken for an id.
func checkSlug(slug string) error {
	if _, err := store.ParseID(slug, ""); err == nil {
		return apperr.Field(apperr.InvalidRequest, "/slug", "must not have the form of an id")
	}
	if !isSlug(slug) {
		return apperr.Field(apperr.InvalidRequest, "/slug", "must be lower-case letters and digits, with hyphens, dots, underscores, colons or single slashes between them")
	}
	return nil
}

// generateSlug derives a slug from a name: its ASCII letters and digits in lower case, without
// accents and with hyphens between words. A name with other letters, and one that looks like an id,
// gets a random slug. With isUnique set, the slug has a random suffix.
func generateSlug(name string, isUnique bool) (string, error) {
	slug := asciiSlug(name)
	if _, err := store.ParseID(slug, ""); err == nil {
		slug = ""
	}
	if slug == "" {
		slug, isUnique = "bot", true
	}
	if !isUnique {
		return slug, nil
	}
	var suffix [3]byte
	if _, err := rand.Read(suffix[:]); err != nil {
		return "", err
	}
	return slug + "-" + hex.EncodeToString(suffix[:]), nil
}

// asciiSlug returns an empty string if the name has letters without an ASCII equivalent.
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
		case r == '\'' || unicode.IsMark(r): // a part of the word
		default:
			hyphen = true
		}
		if slug.Len() >= maxGeneratedSlug {
			break
		}
	}
	return slug.String()
}
