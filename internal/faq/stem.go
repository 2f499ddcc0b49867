package faq

import "strings"

// stem removes the most frequent English suffixes, so that book, books, booked and booking are one
// term. The result need not be a word.
//
// INVARIANT: the index holds stems, see indexTerms.
func stem(word string) string {
	for i := range len(word) {
		if word[i] < 'a' || word[i] > 'z' {
			return word
		}
	}
	if len(word) < 4 {
		return word
	}
	switch {
	case strings.HasSuffix(word, "ies"):
		return word[:len(word)-3] + "y"
	case strings.HasSuffix(word, "ied"):
		return word[:len(word)-3] + "y"
	case strings.HasSuffix(word, "ss"), strings.HasSuffix(word, "us"), strings.HasSuffix(word, "is"):
		return word
	case strings.HasSuffix(word, "s"):
		word = word[:len(word)-1]
	}
	switch {
	case strings.HasSuffix(word, "eed"):
	case strings.HasSuffix(word, "ing"):
		word = trimSuffix(word, 3)
	case strings.HasSuffix(word, "ed"):
		word = trimSuffix(word, 2)
	}
	if len(word) > 3 && strings.HasSuffix(word, "e") {
		word = word[:len(word)-1]
	}
	return word
}

// trimSuffix removes the last n letters and a doubled consonant before them, unless no syllable
// would remain.
func trimSuffix(word string, n int) string {
	base := word[:len(word)-n]
	if len(base) < 2 || !strings.ContainsAny(base, "aeiouy") {
		return word
	}
	last := base[len(base)-1]
	if len(base) > 3 && last == base[len(base)-2] && !strings.ContainsRune("aeiou", rune(last)) {
		base = base[:len(base)-1]
	}
	return base
}
