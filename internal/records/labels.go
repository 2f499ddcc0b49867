package records

import "parley/internal/xlsx"

// Locale selects the language of an export's headers.
type Locale string

// The supported locales. Any other value selects English.
const (
	English            Locale = "en"
	TraditionalChinese Locale = "zh-TW"
)

// labels are the texts of an export in one language.
type labels struct {
	headers  [19]string // of the sheet Records
	overflow [4]string  // of the sheet Overflow
	mark     string     // ends a text that continues on the sheet Overflow
}

var english = labels{
	headers: [...]string{
		"ID", "User input", "Condensed input", "Type", "Reference", "Output",
		"Faithfulness", "Answer relevancy", "Answer correctness", "Answer similarity", "Context precision", "Context recall",
		"Reply time (s)", "Created at", "Model", "Prompt tokens", "Completion tokens", "Cached tokens", "Reasoning tokens",
	},
	overflow: [...]string{"ID", "Column", "Part", "Text"},
	mark:     "… [continues on the sheet Overflow]",
}

var traditionalChinese = labels{
	headers: [...]string{
		"ID", "用戶輸入訊息", "修飾輸入訊息", "型態", "參考資料", "輸出訊息",
		"誠實性評分", "回答相關性評分", "回答正確性評分", "回答相似性評分", "參考資料相關性評分", "參考資料召回率評分",
		"回覆花費時間", "建立時間", "模型", "輸入 Token 數", "輸出 Token 數", "快取 Token 數", "推理 Token 數",
	},
	overflow: [...]string{"ID", "欄位", "部分", "內容"},
	mark:     "…［續見工作表 Overflow］",
}

func labelsOf(locale Locale) labels {
	if locale == TraditionalChinese {
		return traditionalChinese
	}
	return english
}

func (l labels) columns() []xlsx.Column {
	widths := [...]float64{38, 60, 40, 10, 60, 60, 16, 18, 20, 18, 20, 18, 16, 20, 24, 14, 18, 14, 17}
	columns := make([]xlsx.Column, len(l.headers))
	for i, header := range l.headers {
		columns[i] = xlsx.Column{Title: header, Width: widths[i]}
	}
	return columns
}

func (l labels) overflowColumns() []xlsx.Column {
	widths := [...]float64{38, 20, 8, 120}
	columns := make([]xlsx.Column, len(l.overflow))
	for i, header := range l.overflow {
		columns[i] = xlsx.Column{Title: header, Width: widths[i]}
	}
	return columns
}
