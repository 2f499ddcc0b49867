package faq

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/sheet"
)

// maxTitles is how many rows may precede the header.
const maxTitles = 10

// header is the row that names the columns.
type header struct {
	number                   int // the row's
	question, answer, labels int // columns; labels is -1 if it is missing
	width                    int // the number of columns up to the last name
	names                    string
	ignored                  []string // the names of columns that are not read
	unnamed                  map[int]bool
}

// columnFields maps the folded names of columns to fields.
var columnFields = map[string]string{
	"question": "question", "questions": "question", "q": "question", "問題": "question", "问题": "question", "提問": "question", "提问": "question", "問": "question", "问": "question",
	"answer": "answer", "answers": "answer", "a": "answer", "答案": "answer", "回答": "answer", "答": "answer",
	"label": "labels", "labels": "labels", "tag": "labels", "tags": "labels", "標籤": "labels", "标签": "labels",
}

const expectedColumns = "question and answer (or 問題 and 答案, or 问题 and 答案)"

var remark = regexp.MustCompile(`\((?:required|optional|必填|選填|选填|必需)\)$`)

// columnField returns the field of a column by its name, which may differ in case, width, marks at
// its ends and invisible characters.
func columnField(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) || unicode.IsControl(r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, bot.Fold(sanitize(name)))
	trim := func(s string) string {
		return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`*:.?"'`+"\uFE0F", r) })
	}
	return columnFields[trim(remark.ReplaceAllString(trim(name), ""))]
}

// search looks for the header in the tables of a file, and keeps what it found instead.
type search struct {
	chosen  *table
	others  []ImportError // about worksheets that were not chosen
	found   []string      // the first rows, quoted
	problem error         // of the first table that cannot be read
}

func (s *search) report(t sheet.Table, detail string) {
	s.others = append(s.others, ImportError{Row: 1, Sheet: t.Name, Detail: detail})
}

// header returns the header of a table, or nil.
func (s *search) header(t sheet.Table) (*header, error) {
	var found *header
	var first *sheet.Row
	rows := 0
	_, err := t.Rows(func(r sheet.Row) error {
		if first == nil {
			first = &r
		}
		var err error
		if found, err = parseHeader(r, t.Name, rows == 0); err != nil {
			return err
		}
		if rows++; found != nil || rows > maxTitles {
			return errFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		problem, isOurs := errors.AsType[*apperr.Error](err)
		if !isOurs {
			return nil, err
		}
		s.report(t, "This worksheet was not imported. "+problem.Message)
		s.problem = cmp.Or(s.problem, err)
		return nil, nil //nolint:nilnil // another table may have a header
	}
	if found == nil && first != nil && (t.Name != "" || len(s.found) == 0) {
		s.found = append(s.found, quoteRow(t, *first))
	}
	return found, nil
}

// parseHeader returns the header that a row is, or nil. Only the first row of a table may name the
// columns by single characters, such as Q and A.
func parseHeader(r sheet.Row, name string, isFirst bool) (*header, error) {
	h := header{number: r.Number, question: -1, answer: -1, labels: -1, unnamed: map[int]bool{}}
	var twice, hidden string
	named := map[int]bool{}
	for _, cell := range r.Cells {
		if strings.TrimSpace(sanitize(cell.Text)) == "" {
			continue
		}
		h.width = max(h.width, cell.Column+1)
		named[cell.Column] = true
		var column *int
		field := columnField(cell.Text)
		if utf8.RuneCountInString(strings.TrimSpace(cell.Text)) == 1 && !isFirst {
			field = ""
		}
		switch field {
		case "question":
			column = &h.question
		case "answer":
			column = &h.answer
		case "labels":
			column = &h.labels
		}
		switch {
		case column == nil:
			h.ignored = append(h.ignored, shorten(cell.Text))
		case cell.Hidden:
			hidden = fmt.Sprintf("The column %s, %q, is hidden: show it or delete it.", sheet.ColumnName(cell.Column), shorten(cell.Text))
			*column = cell.Column
		case *column >= 0:
			twice = fmt.Sprintf("The columns %s and %s have the same meaning, %s: keep one of them.",
				sheet.ColumnName(*column), sheet.ColumnName(cell.Column), field)
		default:
			*column = cell.Column
			h.names += cell.Text
		}
	}
	if h.question < 0 || h.answer < 0 {
		return nil, nil //nolint:nilnil // the row is not a header
	}
	for column := range h.width {
		h.unnamed[column] = !named[column]
	}
	if problem := cmp.Or(hidden, twice); problem != "" {
		if name != "" {
			problem = fmt.Sprintf("Worksheet %q: %s", name, problem)
		}
		return nil, sheet.Refuse(problem)
	}
	return &h, nil
}

func (h *header) isUnnamed(column int) bool { return h.unnamed[column] }

// ignore notes that a column is not read.
func (h *header) ignore(name string) {
	if !slices.Contains(h.ignored, name) {
		h.ignored = append(h.ignored, name)
	}
}

// quoteRow returns the beginning of a row for a message.
func quoteRow(t sheet.Table, r sheet.Row) string {
	var cells []string
	for _, cell := range r.Cells[:min(len(r.Cells), 8)] {
		cells = append(cells, fmt.Sprintf("%q", shorten(cmp.Or(cell.Text, cell.Doubt))))
	}
	quoted := strings.Join(cells, ", ")
	switch {
	case t.Hidden:
		return fmt.Sprintf("%s in the hidden worksheet %q", quoted, t.Name)
	case t.Name != "":
		return fmt.Sprintf("%s in the worksheet %q", quoted, t.Name)
	}
	return quoted
}

// shorten shortens a name that a message quotes.
func shorten(text string) string {
	const most = 40
	text = strings.TrimSpace(sanitize(text))
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// refusal returns the error for a file without the columns: it quotes what was found.
func (s *search) refusal(file []byte, isText bool) error {
	if isText {
		if format := sheet.DescribeText(file); format != "" {
			return sheet.RefuseFormat(format)
		}
	}
	switch {
	case s.problem != nil:
		return s.problem
	case len(s.others) > 0:
		return sheet.Refuse(fmt.Sprintf("The columns %s are only in the hidden worksheet %q: show it.", expectedColumns, s.others[0].Sheet))
	case len(s.found) == 0 && isText:
		return sheet.Refuse("The file is empty, or its encoding is not certain. Save it as .csv in UTF-8, with a first row that names the columns " + expectedColumns + ".")
	case len(s.found) == 0:
		return sheet.Refuse("The file is empty. Its first row must name the columns " + expectedColumns + ".")
	}
	return sheet.Refuse("The first row must name the columns " + expectedColumns + ". It has " + strings.Join(s.found[:min(len(s.found), 5)], "; ") + ".")
}
