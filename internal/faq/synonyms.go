package faq

import (
	_ "embed"
	"slices"
	"strings"
	"unicode/utf8"

	"parley/internal/bot"
)

// hanzi.txt and synonyms.txt tell in their first lines what they hold.
var (
	//go:embed hanzi.txt
	hanziFile string
	//go:embed synonyms.txt
	wordsFile string
)

// readTerms cuts a text for comparing it: what is written otherwise but means the same gives the same terms. They are not
// stored, so the two files may be changed at any time.
func readTerms(text string) []term {
	return cut(oneSpelling(text), readPhrases)
}

// oneSpelling writes a text in Simplified characters, which several Traditional ones may share, and with the first of
// the words that mean the same.
func oneSpelling(text string) string {
	return rewordSimplified.Replace(respell(variants.Replace(bot.Fold(text)), simplified))
}

// spellings are the other ways in which the same may have been stored.
func spellings(text string) []string {
	text = bot.Fold(text)
	inTraditional := respell(text, traditional)
	return []string{rewordTraditional.Replace(inTraditional), inTraditional, respell(text, simplified)}
}

var simplified, traditional = scripts()

// scripts tells the characters of one script that the other writes differently. A Simplified one that Traditional texts
// use as well stays what it is.
func scripts() (toSimplified, toTraditional map[rune]rune) {
	const shared = "台面表只制周注向吃家准范具折征布占杯回卷扣舍挂"
	toSimplified, toTraditional = map[rune]rune{}, map[rune]rune{}
	for fields := range entriesOf(hanziFile) {
		others := []rune(fields[1])
		for i, t := range []rune(fields[0]) {
			s := others[i]
			toSimplified[t] = s
			if _, taken := toTraditional[s]; !taken && !strings.ContainsRune(shared, s) {
				toTraditional[s] = t
			}
		}
	}
	return toSimplified, toTraditional
}

func respell(text string, script map[rune]rune) string {
	return strings.Map(func(r rune) rune {
		if other, ok := script[r]; ok {
			return other
		}
		return r
	}, text)
}

var rewordTraditional, rewordSimplified = rewordings()

// rewordings replace a word by the one that stands for its meaning; of two that begin at the same place the longer.
func rewordings() (inTraditional, inSimplified *strings.Replacer) {
	type change struct{ from, to string }
	var changes []change
	for words := range entriesOf(wordsFile) {
		for _, word := range words {
			changes = append(changes, change{word, words[0]})
		}
	}
	slices.SortStableFunc(changes, func(x, y change) int {
		return utf8.RuneCountInString(y.from) - utf8.RuneCountInString(x.from)
	})
	var asWritten, respelled []string
	for _, c := range changes {
		asWritten = append(asWritten, c.from, c.to)
		respelled = append(respelled, respell(c.from, simplified), respell(c.to, simplified))
	}
	return strings.NewReplacer(asWritten...), strings.NewReplacer(respelled...)
}

// entriesOf are the lines of a file, without comments, each cut at its spaces.
func entriesOf(file string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(file) {
			if fields := strings.Fields(line); len(fields) > 0 && fields[0] != "#" && !yield(fields) {
				return
			}
		}
	}
}

var readPhrases = phrases{respelled(stopPhrases), respelled(keptWords)}

// vague are words that tell what kind of answer is wanted, or nothing, but not what the question is about.
var vague = respelled(set(`
	時間 多久 費用 年齡 哪裡 無法 規定 多少 原因 一個 一次 一下 一直 一點 一起 一定 太多 很多 問題 地方 方式 方法 情況 目前 最近 已經
	直接 全部 所有 其他 開始 使用 提供 辦理 處理 進行 知道 應該 必須 比較 相關`))

func respelled(words map[string]bool) map[string]bool {
	found := make(map[string]bool, len(words))
	for word := range words {
		found[respell(word, simplified)] = true
	}
	return found
}
