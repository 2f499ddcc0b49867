package faq

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"parley/internal/apperr"
	"parley/internal/bot"
)

// maxRows is the number of rows that a file may have.
const maxRows = 20_000

// table is the content of an imported file.
type table struct {
	hasHeader                bool
	question, answer, labels int // column indexes; labels is -1 if the column is missing
	rows                     []row
}

type row struct {
	number                   int // the header's is 1
	question, answer, labels string
}

// readTable reads a file in the format that its content shows, whatever its name.
func readTable(file []byte) (*table, error) {
	t := &table{}
	var err error
	switch {
	case bytes.HasPrefix(file, []byte("PK\x03\x04")):
		err = t.readWorkbook(file)
	case bytes.HasPrefix(file, []byte("\xD0\xCF\x11\xE0")):
		err = invalidFile("The file is in an old Excel format or has a password: save it as .xlsx without a password.")
	default:
		err = t.readCSV(file)
	}
	if err != nil {
		return nil, err
	}
	if !t.hasHeader {
		return nil, invalidFile("The file is empty.")
	}
	return t, nil
}

func invalidFile(message string) *apperr.Error {
	return &apperr.Error{
		Kind:       apperr.InvalidRequest,
		Message:    message,
		Violations: []apperr.Violation{{In: "body", Pointer: "/file", Detail: message}},
	}
}

// readCSV reads a UTF-8 file whose fields are separated by commas, semicolons or tabs. Quotes must
// be well-formed: a stray quote would turn the rest of the file into one field.
func (t *table) readCSV(file []byte) error {
	file = bytes.TrimPrefix(file, []byte("\xEF\xBB\xBF"))
	if !utf8.Valid(file) || bytes.IndexByte(file, 0) >= 0 {
		return invalidFile("The file is neither .xlsx nor .csv in UTF-8: save it as one of these in a spreadsheet program.")
	}
	r := csv.NewReader(bytes.NewReader(file))
	r.Comma = detectSeparator(file)
	if bytes.Count(file, []byte(string(r.Comma))) > maxCells { // a single row could have all of them
		return apperr.New(apperr.TooLarge, "The file has too many cells: keep only the named columns.")
	}
	r.FieldsPerRecord = -1
	number, end := 0, int64(0)
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if parseErr, ok := errors.AsType[*csv.ParseError](err); ok {
			return invalidFile(fmt.Sprintf("Line %d of the file is not valid CSV: it has a misplaced quotation mark.", parseErr.Line))
		}
		if err != nil {
			return fmt.Errorf("read the file: %w", err)
		}
		// The reader skips empty lines, but they count as rows.
		number += 1 + leadingEmptyLines(file[end:r.InputOffset()])
		end = r.InputOffset()
		if err := t.addRow(number, cells); err != nil {
			return err
		}
	}
}

func leadingEmptyLines(text []byte) int {
	n := 0
	for {
		text = bytes.TrimPrefix(text, []byte("\r"))
		if len(text) == 0 || text[0] != '\n' {
			return n
		}
		text = text[1:]
		n++
	}
}

// detectSeparator returns the separator that occurs most often in the first line.
func detectSeparator(file []byte) rune {
	header, _, _ := bytes.Cut(bytes.TrimLeft(file, "\r\n"), []byte("\n"))
	separator, most := ',', 0
	for _, r := range ",;\t" {
		if n := bytes.Count(header, []byte(string(r))); n > most {
			separator, most = r, n
		}
	}
	return separator
}

// addRow adds the next row. The first row that is not blank is the header.
func (t *table) addRow(number int, cells []string) error {
	cell := func(column int) string {
		if column < 0 || column >= len(cells) {
			return ""
		}
		return strings.TrimSpace(sanitize(cells[column]))
	}
	isBlank := true
	for i := range cells {
		isBlank = isBlank && cell(i) == ""
	}
	switch {
	case isBlank:
		return nil
	case !t.hasHeader:
		return t.setHeader(cells)
	case len(t.rows) == maxRows:
		return apperr.New(apperr.TooLarge, fmt.Sprintf("The file has more than %d rows: split it.", maxRows))
	}
	t.rows = append(t.rows, row{number, cell(t.question), cell(t.answer), cell(t.labels)})
	return nil
}

// columnFields maps the names of columns to fields.
var columnFields = map[string]string{
	"question": "question", "問題": "question",
	"answer": "answer", "答案": "answer",
	"labels": "labels", "標籤": "labels",
}

func (t *table) setHeader(cells []string) error {
	columns := map[string]int{}
	for i, cell := range cells {
		field := columnFields[strings.TrimSpace(bot.Fold(sanitize(cell)))]
		if _, ok := columns[field]; !ok {
			columns[field] = i
		}
	}
	question, hasQuestion := columns["question"]
	answer, hasAnswer := columns["answer"]
	if !hasQuestion || !hasAnswer {
		return invalidFile("The first row must name the columns question and answer (or 問題 and 答案).")
	}
	t.hasHeader, t.question, t.answer, t.labels = true, question, answer, -1
	if labels, ok := columns["labels"]; ok {
		t.labels = labels
	}
	return nil
}
