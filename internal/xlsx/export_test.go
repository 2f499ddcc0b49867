package xlsx

// AppendText is appendText for the tests.
var AppendText = appendText

// Limit makes the workbook's sheets end after so many rows or bytes of XML.
func (b *Workbook) Limit(rows int, bytes int64) {
	b.maxRows, b.maxBytes = rows, bytes
}
