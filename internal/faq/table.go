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

// maxRows is how many entries a file may hold.
const maxRows = 20_000

// table is the entries that a file holds, as they are written there.
type table struct {
	started                  bool
	question, answer, labels int // columns; labels is -1 in a table without
	rows                     []row
}

type row struct {
	number                   int
	question, answer, labels string
}

// readTable goes by what the file holds, not by its name.
func readTable(file []byte) (*table, error) {
	t := &table{}
	var err error
	switch {
	case bytes.HasPrefix(file, []byte("PK\x03\x04")):
		err = t.readWorkbook(file)
	case bytes.HasPrefix(file, []byte("\xD0\xCF\x11\xE0")):
		err = invalidFile("The file is an old or a protected Excel file: save it as .xlsx, without a password.")
	default:
		err = t.readCSV(file)
	}
	if err != nil {
		return nil, err
	}
	if !t.started {
		return nil, invalidFile("The file is empty.")
	}
	return t, nil
}

func invalidFile(sentence string) *apperr.Error {
	return &apperr.Error{
		Kind:       apperr.InvalidRequest,
		Message:    sentence,
		Violations: []apperr.Violation{{In: "body", Pointer: "/file", Detail: sentence}},
	}
}

// readCSV reads a table in UTF-8, its fields parted by commas, semicolons or tabs. Quotes must be right: a stray one
// would take the rest of the file for one field.
func (t *table) readCSV(file []byte) error {
	file = bytes.TrimPrefix(file, []byte("\xEF\xBB\xBF"))
	if !utf8.Valid(file) || bytes.IndexByte(file, 0) >= 0 {
		return invalidFile("The file is neither .xlsx nor a .csv in UTF-8: in a spreadsheet program, save it as one of these.")
	}
	r := csv.NewReader(bytes.NewReader(file))
	r.Comma = delimiter(file)
	if bytes.Count(file, []byte(string(r.Comma))) > maxCells { // they may be of one row
		return apperr.New(apperr.TooLarge, "The file has too many cells: leave only the columns that are named.")
	}
	r.FieldsPerRecord = -1
	number, end := 0, int64(0)
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if parse, ok := errors.AsType[*csv.ParseError](err); ok {
			return invalidFile(fmt.Sprintf("Line %d of the file is no valid CSV: a quotation mark is out of place.", parse.Line))
		}
		if err != nil {
			return fmt.Errorf("read the file: %w", err)
		}
		// The reader passes over blank lines, which are rows all the same.
		number += 1 + blankLines(file[end:r.InputOffset()])
		end = r.InputOffset()
		if err := t.add(number, cells); err != nil {
			return err
		}
	}
}

// blankLines counts the empty lines that a text begins with.
func blankLines(text []byte) int {
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

// delimiter is what parts the names of the columns.
func delimiter(file []byte) rune {
	header, _, _ := bytes.Cut(bytes.TrimLeft(file, "\r\n"), []byte("\n"))
	best, most := ',', 0
	for _, r := range ",;\t" {
		if n := bytes.Count(header, []byte(string(r))); n > most {
			best, most = r, n
		}
	}
	return best
}

// add takes the next row: the first one that is not blank names the columns.
func (t *table) add(number int, cells []string) error {
	cell := func(column int) string {
		if column < 0 || column >= len(cells) {
			return ""
		}
		return strings.TrimSpace(printable(cells[column]))
	}
	blank := true
	for i := range cells {
		blank = blank && cell(i) == ""
	}
	switch {
	case blank:
		return nil
	case !t.started:
		return t.start(cells)
	case len(t.rows) == maxRows:
		return apperr.New(apperr.TooLarge, fmt.Sprintf("The file has more than %d rows: divide it.", maxRows))
	}
	t.rows = append(t.rows, row{number, cell(t.question), cell(t.answer), cell(t.labels)})
	return nil
}

// columnNames tells what a column holds by its name.
var columnNames = map[string]string{
	"question": "question", "問題": "question",
	"answer": "answer", "答案": "answer",
	"labels": "labels", "標籤": "labels",
}

func (t *table) start(cells []string) error {
	at := map[string]int{}
	for i, cell := range cells {
		what := columnNames[strings.TrimSpace(bot.Fold(printable(cell)))]
		if _, ok := at[what]; !ok {
			at[what] = i
		}
	}
	question, asks := at["question"]
	answer, answers := at["answer"]
	if !asks || !answers {
		return invalidFile("The first row must name the columns question and answer (or 問題 and 答案).")
	}
	t.started, t.question, t.answer, t.labels = true, question, answer, -1
	if labels, ok := at["labels"]; ok {
		t.labels = labels
	}
	return nil
}
