package records

import "parley/internal/xlsx"

// Locale is a language that an export can have.
type Locale string

// The languages of exports. Any other is English.
const (
	English            Locale = "en"
	TraditionalChinese Locale = "zh-TW"
)

// words are what an export says in its own words.
type words struct {
	headers  [14]string // of the sheet Records
	overflow [4]string  // of the sheet Overflow
	mark     string     // ends a text that goes on there
}

var english = words{
	headers: [...]string{
		"ID", "User input", "Condensed input", "Type", "Reference", "Output",
		"Faithfulness", "Answer relevancy", "Answer correctness", "Answer similarity", "Context precision", "Context recall",
		"Reply time (s)", "Created at",
	},
	overflow: [...]string{"ID", "Column", "Part", "Text"},
	mark:     "… [continues on the sheet Overflow]",
}

var traditionalChinese = words{
	headers: [...]string{
		"ID", "用戶輸入訊息", "修飾輸入訊息", "型態", "參考資料", "輸出訊息",
		"誠實性評分", "回答相關性評分", "回答正確性評分", "回答相似性評分", "參考資料相關性評分", "參考資料召回率評分",
		"回覆花費時間", "建立時間",
	},
	overflow: [...]string{"ID", "欄位", "部分", "內容"},
	mark:     "…［續見工作表 Overflow］",
}

func wordsOf(locale Locale) words {
	if locale == TraditionalChinese {
		return traditionalChinese
	}
	return english
}

func (w words) columns() []xlsx.Column {
	widths := [...]float64{38, 60, 40, 10, 60, 60, 16, 18, 20, 18, 20, 18, 16, 20}
	columns := make([]xlsx.Column, len(w.headers))
	for i, header := range w.headers {
		columns[i] = xlsx.Column{Title: header, Width: widths[i]}
	}
	return columns
}

func (w words) overflowColumns() []xlsx.Column {
	widths := [...]float64{38, 20, 8, 120}
	columns := make([]xlsx.Column, len(w.overflow))
	for i, header := range w.overflow {
		columns[i] = xlsx.Column{Title: header, Width: widths[i]}
	}
	return columns
}
