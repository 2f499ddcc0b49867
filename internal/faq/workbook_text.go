package faq

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"strconv"

	"github.com/xuri/excelize/v2"
	"golang.org/x/net/html/charset"

	"parley/internal/apperr"
)

const (
	// maxCellText is how many bytes the text of a cell may take: all its characters, of four bytes at the most.
	maxCellText = 4 * excelize.TotalCellChars
	// maxEscapes is how many of them may be written as _x000D_, which is how a spreadsheet program keeps a carriage return:
	// for each one the library copies the text.
	maxEscapes = 2_000
	// maxRowText is how much a row may come to when each of its cells has the longest text: many cells can refer to one
	// text, and the library copies it for each.
	maxRowText = 64 << 20
)

// texts are what a workbook's texts may come to in memory.
type texts struct {
	longest int // the text of a cell, in bytes
	widest  int // the cells of a row that are not empty
}

func (t texts) check() error {
	if t.longest*t.widest > maxRowText {
		return tooMuch()
	}
	return nil
}

// read reads a part as the library does: no further than its XML is right.
func (t *texts) read(part *zip.File) error {
	content, err := part.Open()
	if err != nil {
		return unreadable(err)
	}
	defer content.Close()
	decoder := xml.NewDecoder(content)
	decoder.CharsetReader = charset.NewReaderLabel
	var text cellText
	var isFilled bool
	var cells, number, highest int // of rows; one goes on until a higher one begins, whatever ends before
	for {
		token, err := decoder.RawToken()
		if err != nil {
			return nil //nolint:nilerr // the part ends here
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
				isFilled = false
			case "si":
				if text.open() {
					isFilled = true // no cell is
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
			if !isFilled {
				isFilled = true
				cells++
			}
			if text.add(token); text.bytes > maxCellText || text.escapes > maxEscapes {
				return tooMuch()
			}
		}
		t.longest, t.widest = max(t.longest, text.bytes), max(t.widest, cells)
	}
}

// rowNumber is that of a row that follows another one.
func rowNumber(row xml.StartElement, last int) int {
	for _, attribute := range row.Attr {
		if attribute.Name.Local == "r" {
			if number, err := strconv.Atoi(attribute.Value); err == nil {
				return number
			}
		}
	}
	return last + 1
}

// cellText is a text as the library puts it together: of all that the outermost element that has a text holds.
type cellText struct {
	depth          int
	bytes, escapes int
	isEscape       bool // it may go on as one
}

// open begins an element that has a text, and tells whether it is an outermost one.
func (t *cellText) open() bool {
	isOutermost := t.depth <= 0
	if isOutermost {
		*t = cellText{}
	}
	t.depth++
	return isOutermost
}

func (t *cellText) add(more []byte) {
	t.bytes += len(more)
	t.escapes += bytes.Count(more, []byte("_x"))
	if t.isEscape && bytes.HasPrefix(more, []byte("x")) {
		t.escapes++
	}
	if len(more) > 0 {
		t.isEscape = more[len(more)-1] == '_'
	}
}

func tooMuch() error {
	return apperr.New(apperr.TooLarge, "The file has more in it than a table of entries needs: copy the entries into a new one.")
}
