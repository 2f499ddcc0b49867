package faq

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"strconv"

	"github.com/xuri/excelize/v2"
	"golang.org/x/net/html/charset"
)

const (
	// maxCellText bounds the text of a cell, in bytes: the characters that a cell can have, of up
	// to four bytes.
	maxCellText = 4 * excelize.TotalCellChars
	// maxEscapes bounds the escapes of a cell, such as _x000D_, in which spreadsheet programs keep
	// carriage returns. excelize copies the text for each of them.
	maxEscapes = 2_000
	// maxRowText bounds the text of a row, in bytes, if each of its cells had the longest text of
	// the workbook. Many cells can refer to one text, and excelize copies it for each.
	maxRowText = 64 << 20
)

// textSize is an upper bound of the memory that excelize needs for the texts of a row.
type textSize struct {
	longest int // the longest text of a cell, in bytes
	widest  int // the largest number of cells with text in a row
}

func (s textSize) check() error {
	if s.longest*s.widest > maxRowText {
		return tooComplex()
	}
	return nil
}

// addPart measures the texts of a part, up to its end or the first XML error, like excelize.
func (s *textSize) addPart(part *zip.File) error {
	content, err := part.Open()
	if err != nil {
		return unreadable(err)
	}
	defer content.Close()
	decoder := xml.NewDecoder(content)
	decoder.CharsetReader = charset.NewReaderLabel
	var text cellText
	var isCounted bool // the current cell
	// excelize keeps adding cells to a row until one with a higher number begins, whatever elements
	// end before.
	var cells, number, highest int
	for {
		token, err := decoder.RawToken()
		if err != nil {
			return nil //nolint:nilerr // the end of what excelize reads
		}
		switch token := token.(type) {
		case xml.StartElement:
			switch token.Name.Local {
			case "row":
				if number = rowNumber(token, number); number > highest {
					highest, cells = number, 0
				}
			case "c":
				text.open()
				isCounted = false
			case "si":
				if text.open() {
					isCounted = true // a shared string is not a cell
				}
			}
		case xml.EndElement:
			if name := token.Name.Local; name == "c" || name == "si" {
				text.depth--
			}
		case xml.CharData:
			if text.depth <= 0 {
				continue
			}
			if !isCounted {
				isCounted = true
				cells++
			}
			if text.add(token); text.bytes > maxCellText || text.escapes > maxEscapes {
				return tooComplex()
			}
		}
		s.longest, s.widest = max(s.longest, text.bytes), max(s.widest, cells)
	}
}

// rowNumber returns the number of a row element, which defaults to that of the row before plus one.
func rowNumber(row xml.StartElement, previous int) int {
	for _, attribute := range row.Attr {
		if attribute.Name.Local == "r" {
			if number, err := strconv.Atoi(attribute.Value); err == nil {
				return number
			}
		}
	}
	return previous + 1
}

// cellText measures a text as excelize assembles it: from all character data within the outermost c
// or si element.
type cellText struct {
	depth          int
	bytes, escapes int
	endsInEscape   bool // the data so far ends in an underscore, which may begin an escape
}

// open enters an element. It reports whether the element is an outermost one.
func (t *cellText) open() bool {
	isOutermost := t.depth <= 0
	if isOutermost {
		*t = cellText{}
	}
	t.depth++
	return isOutermost
}

func (t *cellText) add(data []byte) {
	t.bytes += len(data)
	t.escapes += bytes.Count(data, []byte("_x"))
	if t.endsInEscape && bytes.HasPrefix(data, []byte("x")) {
		t.escapes++
	}
	if len(data) > 0 {
		t.endsInEscape = data[len(data)-1] == '_'
	}
}
