package faq

import "strings"

// stopPhrases are frequent phrases at the beginning and the end of Chinese questions, which do not distinguish
// questions.
var stopPhrases = set(`
	請問 想請問 請教 想知道 想問 我想 想 請 嗎 嘛 呢 吧 啊 喔 阿 呀 的 了 之 我 您 你 他 我們 你們 自己
	如何 怎麼 怎麼樣 怎樣 要怎麼 該怎麼 該如何 要如何 怎麼辦 應如何 什麼 甚麼 什麼樣 為什麼 為甚麼 為何 何謂
	可以 可不可以 可否 能否 能不能 是否 是不是 會不會 要不要 需不需要 有沒有 有無 有何 有 是 會 能 要 可 若 如果 需要 可能
	那 那些 哪 哪些 哪個 哪裡 哪裏 這 這個 那個 多少 多少錢 幾 今天 明天 昨天 現在 請幫 幫我 告訴我 還 也 都 就
	吗 么 什么 怎么 怎么办 请问 为什么 如果 没有 有没有 为何 哪里 可不可以 这 这个 那个 我们 你们 现在`)

// protectedPhrases are common words that contain a stop phrase and must not be split at it.
var protectedPhrases = set(`
	會員 會議 會計 開會 協會 機會 社會 宴會 年會 申請 邀請 功能 智能 性能 能源 能量 有效 有限 所有 擁有 目的 主要 重要
	必要 摘要 要求 許可 認可 了解 現有 請假 請款 可靠 可愛 首都 都市 首要 還款 歸還 退還 返還 償還 交還 還車 還書 成就
	就業 就醫 就診 想像 理想 幾何 這些 会员 会议 申请 功能 有效 还款`)

// characterVariants maps variants of characters, and colloquial words, to the forms that are common in questions.
var characterVariants = strings.NewReplacer(
	"臺", "台", "裏", "內", "裡", "內", "煙", "菸", "抽菸", "吸菸", "抽煙", "吸菸", "超商", "便利商店", "付錢", "付款", "给", "給")

// stopWords are the English words that occur in questions of any subject.
var stopWords = set(`
	a about am an and any are as at be been but by can could did do does doing for from get had has have how i if in into is
	it its im ive me my of on or our please shall should so some tell than that the their them then there these they this
	those to us want was we were what whats when where which who whom why will with would you your`)

// vagueTerms ask for a kind of answer, such as a time or a price, or mean nothing by themselves.
// They do not say what a question is about. They are in Simplified characters.
var vagueTerms = convertSet(set(`
	時間 多久 費用 年齡 哪裡 無法 規定 多少 原因 一個 一次 一下 一直 一點 一起 一定 太多 很多 問題 地方 方式 方法 情況 目前 最近 已經
	直接 全部 所有 其他 開始 使用 提供 辦理 處理 進行 知道 應該 必須 比較 相關`))

// comparisonPhrases are the phrases in Simplified characters, for comparisonTerms.
var comparisonPhrases = phrases{convertSet(stopPhrases), convertSet(protectedPhrases)}

func convertSet(words map[string]bool) map[string]bool {
	converted := make(map[string]bool, len(words))
	for word := range words {
		converted[convertScript(word, toSimplified)] = true
	}
	return converted
}

// set returns the words of a list as a set.
func set(words string) map[string]bool {
	found := map[string]bool{}
	for _, word := range strings.Fields(words) {
		found[word] = true
	}
	return found
}
