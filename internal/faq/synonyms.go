package faq

import (
	_ "embed"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"parley/internal/bot"
)

// The first lines of these files describe their formats.
var (
	//go:embed hanzi.txt
	hanziFile string
	//go:embed synonyms.txt
	synonymsFile string
)

// normalizeSpelling returns a folded text in Simplified characters, to which several Traditional
// characters may be mapped, with each word replaced by the first of its synonyms.
func normalizeSpelling(text string) string {
	return simplifiedSynonyms.Replace(convertScript(characterVariants.Replace(bot.Fold(text)), toSimplified))
}

// otherSpellings returns the other spellings in which the same question may be stored.
func otherSpellings(text string) []string {
	text = bot.Fold(text)
	inTraditional := convertScript(text, toTraditional)
	return []string{traditionalSynonyms.Replace(inTraditional), inTraditional, convertScript(text, toSimplified)}
}

var toSimplified, toTraditional = scriptMaps()

// scriptMaps returns the characters that the two Chinese scripts write differently. A Simplified
// character that is also used in Traditional texts is not mapped to a Traditional one.
func scriptMaps() (toSimplified, toTraditional map[rune]rune) {
	const shared = "台面表只制周注向吃家准范具折征布占杯回卷扣舍挂"
	toSimplified, toTraditional = map[rune]rune{}, map[rune]rune{}
	for fields := range records(hanziFile) {
		simplified := []rune(fields[1])
		for i, t := range []rune(fields[0]) {
			s := simplified[i]
			toSimplified[t] = s
			if _, ok := toTraditional[s]; !ok && !strings.ContainsRune(shared, s) {
				toTraditional[s] = t
			}
		}
	}
	return toSimplified, toTraditional
}

func convertScript(text string, script map[rune]rune) string {
	return strings.Map(func(r rune) rune {
		if converted, ok := script[r]; ok {
			return converted
		}
		return r
	}, text)
}

var traditionalSynonyms, simplifiedSynonyms = synonymReplacers()

// synonymReplacers return replacers of words by the first of their synonyms, for texts in either
// script. Longer words take precedence.
func synonymReplacers() (traditional, simplified *strings.Replacer) {
	type synonym struct{ word, first string }
	var synonyms []synonym
	for words := range records(synonymsFile) {
		for _, word := range words {
			synonyms = append(synonyms, synonym{word, words[0]})
		}
	}
	slices.SortStableFunc(synonyms, func(x, y synonym) int {
		return utf8.RuneCountInString(y.word) - utf8.RuneCountInString(x.word)
	})
	var asWritten, converted []string
	for _, s := range synonyms {
		asWritten = append(asWritten, s.word, s.first)
		converted = append(converted, convertScript(s.word, toSimplified), convertScript(s.first, toSimplified))
	}
	return strings.NewReplacer(asWritten...), strings.NewReplacer(converted...)
}

// records returns the lines of a file, without comments, split at spaces.
func records(file string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(file) {
			if fields := strings.Fields(line); len(fields) > 0 && fields[0] != "#" && !yield(fields) {
				return
			}
		}
	}
}
