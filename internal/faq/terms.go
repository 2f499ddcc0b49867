package faq

import (
	"strings"
	"unicode"

	"parley/internal/bot"
)

// term is a unit of text that can be looked up.
type term struct {
	text string
	kind termKind
}

type termKind int

// In scripts without spaces between words, a run is a sequence of letters between other characters
// or stop phrases.
const (
	wordTerm      termKind = iota // a word or a number
	bigramTerm                    // two adjacent characters of a run
	singleTerm                    // the character of a run of one
	characterTerm                 // one character of a longer run
	stopTerm                      // a word or phrase that occurs in any question
)

// isIndexed reports whether terms of this kind are stored in the index. Characters and stop terms occur in so many
// entries that looking them up is expensive and hardly helps. They are compared only in the candidates.
func (t term) isIndexed() bool { return t.kind < characterTerm }

// weight returns how much a term contributes to the meaning of its text, apart from its rarity.
func (t term) weight() float64 {
	switch t.kind {
	case characterTerm, singleTerm:
		return 0.3
	case stopTerm:
		return 0.08
	default:
		return 1
	}
}

const (
	maxTermLength = 64  // characters of a word, so that it fits into an index entry
	maxTerms      = 400 // terms of a text, so that a long message costs no more than a long question
)

// questionKey returns a question without case, width, spaces and punctuation, for exact matches.
// Symbols that distinguish names, as in C#, are kept.
func questionKey(question string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) || unicode.IsPunct(r) && !strings.ContainsRune("#%&@*", r) {
			return -1
		}
		return r
	}, bot.Fold(question))
}

// indexTerms cuts a text into terms for the index, each once and in order. Words are stemmed;
// scripts without spaces give bigrams and single characters.
//
// INVARIANT: the index holds these terms for every stored question. A change here requires indexing
// all of them again.
func indexTerms(text string) []term {
	return tokenize(characterVariants.Replace(bot.Fold(text)), phrases{stopPhrases, protectedPhrases})
}

// comparisonTerms cuts a text into terms for comparing it with another: spellings and synonyms of
// the same text give the same terms. These terms are not stored, so synonyms.txt and hanzi.txt may
// change at any time.
func comparisonTerms(text string) []term {
	return tokenize(normalizeSpelling(text), comparisonPhrases)
}

// phrases are phrases at which runs are split, and phrases that must not be split.
type phrases struct{ stop, protected map[string]bool }

// tokenize cuts a folded text into terms.
func tokenize(text string, known phrases) []term {
	t := tokenizer{phrases: known, seen: map[string]bool{}}
	word, run := []rune{}, []rune{}
	flush := func() {
		t.addWord(word)
		t.addRun(run)
		word, run = word[:0], run[:0]
	}
	for _, r := range text {
		switch {
		case len(t.terms) >= maxTerms:
			return t.terms[:maxTerms]
		case isUnspaced(r):
			t.addWord(word)
			word = word[:0]
			run = append(run, r)
		case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
			t.addRun(run)
			run = run[:0]
			word = append(word, r)
		case (r == '\'' || r == '’') && len(word) > 0:
			word = append(word, '\'')
		default:
			flush()
		}
	}
	flush()
	return t.terms[:min(len(t.terms), maxTerms)]
}

// isUnspaced reports whether r belongs to a script without spaces between words.
func isUnspaced(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao,
		unicode.Khmer, unicode.Myanmar, unicode.Bopomofo) || r == 'ー' || r == '々'
}

// tokenizer collects the terms of a text.
type tokenizer struct {
	phrases
	terms []term
	seen  map[string]bool
}

func (t *tokenizer) add(text string, kind termKind) {
	if text != "" && !t.seen[text] {
		t.seen[text] = true
		t.terms = append(t.terms, term{text, kind})
	}
}

func (t *tokenizer) addWord(word []rune) {
	if len(word) == 0 {
		return
	}
	text := strings.TrimSuffix(strings.TrimRight(string(word[:min(len(word), maxTermLength)]), "'"), "'s")
	text = strings.ReplaceAll(text, "'", "")
	if stopWords[text] {
		t.add(text, stopTerm)
		return
	}
	t.add(stem(text), wordTerm)
}

// addRun adds the terms of a run. Stop phrases split it, because bigrams across them would be rare and meaningless.
func (t *tokenizer) addRun(run []rune) {
	start := 0
	for i := 0; i < len(run); {
		if n := longestPrefix(t.protected, run[i:]); n > 0 {
			i += n
			continue
		}
		n := longestPrefix(t.stop, run[i:])
		if n == 0 {
			i++
			continue
		}
		t.addCharacters(run[start:i])
		t.add(string(run[i:i+n]), stopTerm)
		i += n
		start = i
	}
	t.addCharacters(run[start:])
}

// addCharacters adds the characters and bigrams of a run without stop phrases.
func (t *tokenizer) addCharacters(run []rune) {
	if len(run) == 1 {
		t.add(string(run), singleTerm)
		return
	}
	for i := range run {
		t.add(string(run[i]), characterTerm)
		if i > 0 {
			t.add(string(run[i-1:i+1]), bigramTerm)
		}
	}
}

// maxPhrase is the length of the longest phrase, in characters.
const maxPhrase = 4

// longestPrefix returns the length of the longest phrase that run begins with, or 0.
func longestPrefix(phrases map[string]bool, run []rune) int {
	for n := min(len(run), maxPhrase); n > 0; n-- {
		if phrases[string(run[:n])] {
			return n
		}
	}
	return 0
}
