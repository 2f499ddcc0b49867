package faq

import (
	"strings"
	"unicode"

	"parley/internal/bot"
)

// term is a piece of a text that can be looked up.
type term struct {
	text string
	kind kind
}

type kind int

const (
	wordTerm   kind = iota // a word or a number
	pairTerm               // two neighbouring characters of a script without spaces
	loneTerm               // such a character without neighbours
	singleTerm             // one such character
	stopTerm               // a word or phrase that is in every question
)

// indexed tells the terms that are looked up. Single characters and stop terms are in so many entries that looking
// them up costs most and tells least; they are compared in the few entries that the others find.
func (t term) indexed() bool { return t.kind < singleTerm }

// weight is how much a term tells about its text, its rarity aside.
func (t term) weight() float64 {
	switch t.kind {
	case singleTerm, loneTerm:
		return 0.3
	case stopTerm:
		return 0.08
	default:
		return 1
	}
}

// maxTerm bounds a word, so that it fits an index.
const maxTerm = 64

// maxTerms bounds the terms of one text, so that a long message costs no more than a long question.
const maxTerms = 400

// questionKey is a question without case, width, spaces and punctuation; signs that tell one thing from another stay.
func questionKey(question string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) || unicode.IsPunct(r) && !strings.ContainsRune("#%&@*", r) {
			return -1
		}
		return r
	}, bot.Fold(question))
}

// cutTerms cuts a text into its terms, each once, in order. Words are reduced to a stem; scripts without spaces give
// pairs of neighbours and single characters.
//
// INVARIANT: the index holds these terms of every question; who cuts otherwise indexes all of them anew.
func cutTerms(text string) []term {
	return cut(variants.Replace(bot.Fold(text)), phrases{stopPhrases, keptWords})
}

// phrases tells where runs without spaces are parted.
type phrases struct{ stop, kept map[string]bool }

func cut(text string, known phrases) []term {
	c := cutter{phrases: known, seen: map[string]bool{}}
	word, run := []rune{}, []rune{}
	flush := func() {
		c.word(word)
		c.run(run)
		word, run = word[:0], run[:0]
	}
	for _, r := range text {
		switch {
		case len(c.terms) >= maxTerms:
			return c.terms[:maxTerms]
		case unspaced(r):
			c.word(word)
			word = word[:0]
			run = append(run, r)
		case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
			c.run(run)
			run = run[:0]
			word = append(word, r)
		case (r == '\'' || r == '’') && len(word) > 0:
			word = append(word, '\'')
		default:
			flush()
		}
	}
	flush()
	return c.terms[:min(len(c.terms), maxTerms)]
}

// unspaced tells the letters of scripts that put no spaces between words.
func unspaced(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao,
		unicode.Khmer, unicode.Myanmar, unicode.Bopomofo) || r == 'ー' || r == '々'
}

type cutter struct {
	phrases
	terms []term
	seen  map[string]bool
}

func (c *cutter) add(text string, k kind) {
	if text != "" && !c.seen[text] {
		c.seen[text] = true
		c.terms = append(c.terms, term{text, k})
	}
}

func (c *cutter) word(word []rune) {
	if len(word) == 0 {
		return
	}
	text := strings.TrimSuffix(strings.TrimRight(string(word[:min(len(word), maxTerm)]), "'"), "'s")
	text = strings.ReplaceAll(text, "'", "")
	if stopWords[text] {
		c.add(text, stopTerm)
		return
	}
	c.add(stem(text), wordTerm)
}

// run cuts letters without spaces. The phrases that are in every question part what is around them: across them there
// are no pairs, which would be rare and mean nothing.
func (c *cutter) run(run []rune) {
	start := 0
	for i := 0; i < len(run); {
		if n := longest(c.kept, run[i:]); n > 0 {
			i += n
			continue
		}
		n := longest(c.stop, run[i:])
		if n == 0 {
			i++
			continue
		}
		c.pairs(run[start:i])
		c.add(string(run[i:i+n]), stopTerm)
		i += n
		start = i
	}
	c.pairs(run[start:])
}

func (c *cutter) pairs(run []rune) {
	if len(run) == 1 {
		c.add(string(run), loneTerm)
		return
	}
	for i := range run {
		c.add(string(run[i]), singleTerm)
		if i > 0 {
			c.add(string(run[i-1:i+1]), pairTerm)
		}
	}
}

// longest returns the length of the longest phrase of a set that run begins with.
func longest(phrases map[string]bool, run []rune) int {
	for n := min(len(run), maxPhrase); n > 0; n-- {
		if phrases[string(run[:n])] {
			return n
		}
	}
	return 0
}

const maxPhrase = 4

// stopPhrases are what Chinese questions are wrapped in.
var stopPhrases = set(`
	請問 想請問 請教 想知道 想問 我想 想 請 嗎 嘛 呢 吧 啊 喔 阿 呀 的 了 之 我 您 你 他 我們 你們 自己
	如何 怎麼 怎麼樣 怎樣 要怎麼 該怎麼 該如何 要如何 怎麼辦 應如何 什麼 甚麼 什麼樣 為什麼 為甚麼 為何 何謂
	可以 可不可以 可否 能否 能不能 是否 是不是 會不會 要不要 需不需要 有沒有 有無 有何 有 是 會 能 要 可 若 如果 需要 可能
	那 那些 哪 哪些 哪個 哪裡 哪裏 這 這個 那個 多少 多少錢 幾 今天 明天 昨天 現在 請幫 幫我 告訴我 還 也 都 就
	吗 么 什么 怎么 怎么办 请问 为什么 如果 没有 有没有 为何 哪里 可不可以 这 这个 那个 我们 你们 现在`)

// keptWords are common words that a stop phrase would tear apart.
var keptWords = set(`
	會員 會議 會計 開會 協會 機會 社會 宴會 年會 申請 邀請 功能 智能 性能 能源 能量 有效 有限 所有 擁有 目的 主要 重要
	必要 摘要 要求 許可 認可 了解 現有 請假 請款 可靠 可愛 首都 都市 首要 還款 歸還 退還 返還 償還 交還 還車 還書 成就
	就業 就醫 就診 想像 理想 幾何 這些 会员 会议 申请 功能 有效 还款`)

// variants are spellings of one character, and everyday words for what questions call by another name.
var variants = strings.NewReplacer(
	"臺", "台", "裏", "內", "裡", "內", "煙", "菸", "抽菸", "吸菸", "抽煙", "吸菸", "超商", "便利商店", "付錢", "付款", "给", "給")

// stopWords are the English words that every question is made of.
var stopWords = set(`
	a about am an and any are as at be been but by can could did do does doing for from get had has have how i if in into is
	it its im ive me my of on or our please shall should so some tell than that the their them then there these they this
	those to us want was we were what whats when where which who whom why will with would you your`)

func set(words string) map[string]bool {
	found := map[string]bool{}
	for _, word := range strings.Fields(words) {
		found[word] = true
	}
	return found
}

// stem takes the commonest endings off an English word, so that book, books, booked and booking are one term. It need
// not find a real word, only the same one for both sides.
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
		word = bare(word, 3)
	case strings.HasSuffix(word, "ed"):
		word = bare(word, 2)
	}
	if len(word) > 3 && strings.HasSuffix(word, "e") {
		word = word[:len(word)-1]
	}
	return word
}

// bare takes n letters off the end and undoes the doubling before them, unless what remains is no syllable.
func bare(word string, n int) string {
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
