package xlsx

// AppendText exports appendText to the tests.
var AppendText = appendText

// Limit sets the maximum number of rows and bytes of XML in a sheet.
func (b *Workbook) Limit(rows int, bytes int64) {
	b.maxRows, b.maxBytes = rows, bytes
}
