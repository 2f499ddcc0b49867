package bot

import (
	"strings"
	"unicode"
)

// How many characters a piece of a reply has.
const (
	minPiece = 10
	midPiece = 24
	maxPiece = 40
)

// pieces cuts a text at the ends of words and sentences where there are such, never inside a character, and into two at
// least when it has two characters. Joined they are the text.
func pieces(text string) []string {
	rest := clusters(text)
	limit := maxPiece
	if len(rest) <= midPiece {
		limit = (len(rest) + 1) / 2
	}
	var cut []string
	for len(rest) > 0 {
		n := pieceLength(rest, limit)
		cut = append(cut, strings.Join(rest[:n], ""))
		rest = rest[n:]
	}
	return cut
}

// pieceLength finds the last good place to cut: after a space or a punctuation mark.
func pieceLength(rest []string, limit int) int {
	if len(rest) <= limit {
		return len(rest)
	}
	for n := limit; n >= min(minPiece, limit/2+1); n-- {
		last := []rune(rest[n-1])[0]
		if unicode.IsSpace(last) || unicode.IsPunct(last) {
			return n
		}
	}
	return min(midPiece, limit)
}

// clusters cuts a text into characters as a reader sees them: a rune with the marks, joiners and modifiers after it.
// Longer rows of such than any reader sees are cut all the same.
func clusters(text string) []string {
	var found []string
	start, joined, length := 0, false, 0
	for i, r := range text {
		follows := joined || unicode.IsMark(r) || r == '\u200d' || r >= 0x1f3fb && r <= 0x1f3ff || r >= 0xe0020 && r <= 0xe007f
		if i > start && (!follows || length >= 16) {
			found = append(found, text[start:i])
			start, length = i, 0
		}
		joined = r == '\u200d'
		length++
	}
	if start < len(text) {
		found = append(found, text[start:])
	}
	return found
}
