package bot

import (
	"archive/zip"
	"bytes"
	"encoding/xml"

	"github.com/xuri/excelize/v2"
	"golang.org/x/net/html/charset"

	"parley/internal/fault"
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
	var isRow, isFilled bool
	var inText int // how many of the elements that have a text are open
	var text, escapes, cells int
	for {
		token, err := decoder.RawToken()
		if err != nil {
			return nil //nolint:nilerr // the part ends here
		}
		switch token := token.(type) {
		case xml.StartElement:
			switch token.Name.Local {
			case "row":
				isRow, cells = true, 0
			case "c", "si":
				if inText == 0 {
					isFilled, text, escapes = false, 0, 0
				}
				inText++
			}
			if inText == 0 {
				text, escapes = 0, 0
			}
		case xml.EndElement:
			switch token.Name.Local {
			case "row":
				isRow = false
			case "c", "si":
				inText--
			}
		case xml.CharData:
			if isRow && inText > 0 && !isFilled {
				isFilled = true
				cells++
			}
			text += len(token)
			escapes += bytes.Count(token, []byte("_x"))
			if text > maxCellText || escapes > maxEscapes {
				return tooMuch()
			}
		}
		t.longest, t.widest = max(t.longest, text), max(t.widest, cells)
	}
}

func tooMuch() error {
	return fault.New(fault.TooLarge, "The file has more in it than a table of entries needs: copy the entries into a new one.")
}
