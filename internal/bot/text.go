package bot

import (
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold removes differences of case, width and compatibility forms, so that spellings of the same
// text compare equal.
func Fold(text string) string {
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text)))
}
