package store

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// SearchText converts a keyword to the form in which texts are compared, which the SQL function canonical returns,
// without surrounding white space.
func SearchText(text string) string { return norm.NFC.String(strings.TrimSpace(text)) }

var escapeLike = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// ContainsPattern returns the LIKE pattern that matches canonical texts which contain the given one, a
// SearchText.
func ContainsPattern(text string) string { return "%" + escapeLike.Replace(text) + "%" }

// HasCase reports whether a text has a letter that another letter equals when case is ignored. A
// text without one, such as Chinese, can be searched with LIKE, which is twice as fast as ILIKE.
// The simple case folding of Unicode does not cover all of them: İ has only a lower-case mapping.
func HasCase(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return unicode.SimpleFold(r) != r || unicode.ToLower(r) != r || unicode.ToUpper(r) != r
	})
}
