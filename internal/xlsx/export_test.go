package xlsx

// AppendText exports appendText to the tests.
var AppendText = appendText

// Limit sets how many rows and bytes of XML a sheet may have.
func (b *Workbook) Limit(rows int, bytes int64) {
	b.maxRows, b.maxBytes = rows, bytes
}
