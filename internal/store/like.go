package store

import (
	"strings"
	"unicode"
)

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// ContainsPattern returns the LIKE pattern that matches texts which contain the given one.
func ContainsPattern(text string) string { return "%" + escapeLike.Replace(text) + "%" }

// HasCase reports whether a text has a letter that another letter equals when case is ignored. A
// text without one, such as Chinese, can be searched with LIKE, which is twice as fast as ILIKE.
// The simple case folding of Unicode does not cover all of them: İ has only a lower-case mapping.
func HasCase(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return unicode.SimpleFold(r) != r || unicode.ToLower(r) != r || unicode.ToUpper(r) != r
	})
}
