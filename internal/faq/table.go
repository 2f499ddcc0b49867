package faq

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"parley/internal/apperr"
	"parley/internal/sheet"
)

// maxRows is the number of rows that a file may have.
const maxRows = 20_000

// table is the content of an imported file.
type table struct {
	header
	sheet, encoding string
	rows            []row
	errors          []ImportError // about rows above the header
	others          []ImportError // about other worksheets
}

type row struct {
	number                   int
	question, answer, labels sheet.Cell
	problem                  ImportError // why the row is not an FAQ
}

// errFound ends the search for a header.
var errFound = errors.New("found")

// readTable reads the first visible worksheet of a file, or the first reading of a text, whose
// header names the columns.
func readTable(file []byte) (*table, error) {
	opened, err := sheet.Open(file)
	if err != nil {
		return nil, err
	}
	var search search
	for _, t := range opened.Tables {
		found, err := search.header(t)
		if err != nil {
			return nil, err
		}
		switch {
		case found == nil || t.IsGuess && isASCII(found.names):
		case t.Hidden:
			search.report(t, "This worksheet has the columns, but it is hidden. It was not imported.")
		case search.chosen != nil:
			search.report(t, "This worksheet has the columns, too. It was not imported: the first one is.")
		default:
			search.chosen = &table{header: *found, sheet: t.Name, encoding: t.Encoding}
			if err := search.chosen.read(t); err != nil {
				return nil, err
			}
			if opened.IsText {
				return search.chosen, nil
			}
		}
	}
	if search.chosen == nil {
		return nil, search.refusal(file, opened.IsText)
	}
	search.chosen.others = search.others
	return search.chosen, nil
}

func isASCII(texts string) bool {
	return !strings.ContainsFunc(texts, func(r rune) bool { return r > 0x7F })
}

// read reads the rows of the table.
func (t *table) read(from sheet.Table) error {
	layout, err := from.Rows(func(r sheet.Row) error {
		switch {
		case r.Number < t.number:
			if len(r.Cells) > 1 { // otherwise it is a title
				t.reportRow(r.Number, "The row is above the header.")
			}
		case r.Number > t.number:
			return t.addRow(r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := t.apply(layout); err != nil {
		return err
	}
	for i := range t.rows {
		t.rows[i].checkCells()
	}
	return nil
}

func (t *table) reportRow(number int, detail string) {
	t.errors = append(t.errors, ImportError{Row: number, Sheet: t.sheet, Detail: detail + " It was not imported."})
}

// addRow adds a row that is not blank.
func (t *table) addRow(r sheet.Row) error {
	added := row{number: r.Number}
	for _, cell := range r.Cells {
		cell.Text = strings.TrimSpace(sanitize(cell.Text))
		isEmpty := cell.Text == "" && cell.Doubt == ""
		switch {
		case isEmpty:
		case cell.Column == t.question:
			added.question = cell
		case cell.Column == t.answer:
			added.answer = cell
		case cell.Column == t.labels:
			added.labels = cell
		case cell.Column >= t.width && added.problem.Detail == "":
			added.problem = ImportError{
				Column: sheet.ColumnName(cell.Column),
				Detail: "The row has a cell to the right of the header's columns. Put a text that contains the separator in quotation marks, or name the column.",
			}
		case cell.Column < t.width && t.isUnnamed(cell.Column):
			t.ignore(sheet.ColumnName(cell.Column))
		}
	}
	isBlank := added.question == (sheet.Cell{}) && added.answer == (sheet.Cell{}) && added.labels == (sheet.Cell{}) && added.problem.Detail == ""
	if isBlank && !slices.ContainsFunc(r.Cells, func(c sheet.Cell) bool { return strings.TrimSpace(sanitize(c.Text)) != "" }) {
		return nil
	}
	if len(t.rows) == maxRows {
		return apperr.New(apperr.TooLarge, fmt.Sprintf("The file has more than %d rows: split it.", maxRows))
	}
	if r.Hidden {
		added.problem = ImportError{Detail: "The row is hidden. Show it, such as by removing a filter, or delete it."}
	}
	t.rows = append(t.rows, added)
	return nil
}

// apply applies what a worksheet says about cells after its rows: links, and cells that are merged
// over several rows.
func (t *table) apply(layout *sheet.Layout) error {
	for i := range t.rows {
		layout.Link(t.rows[i].number, &t.rows[i].question)
		layout.Link(t.rows[i].number, &t.rows[i].answer)
	}
	steps := 0
	for _, column := range []int{t.question, t.answer, t.labels} {
		for _, merged := range layout.Merged(column) {
			covered := t.between(merged.First, merged.Last)
			if steps += len(covered); steps > 10*maxRows { // the areas overlap
				return sheet.Refuse("The worksheet has merged cells that overlap: undo the merges.")
			}
			t.spread(merged, covered)
		}
	}
	return nil
}

// between returns the rows with these numbers.
func (t *table) between(first, last int) []row {
	start, _ := slices.BinarySearchFunc(t.rows, first, func(r row, number int) int { return r.number - number })
	end, _ := slices.BinarySearchFunc(t.rows, last+1, func(r row, number int) int { return r.number - number })
	return t.rows[start:max(start, end)]
}

// spread gives the value of a merged cell to the rows that it covers. A question of several rows
// with different answers is in doubt.
func (t *table) spread(merged sheet.Merged, covered []row) {
	if len(covered) == 0 || covered[0].number != merged.First {
		return
	}
	isQuestion := merged.Column == t.question
	for i := range covered[1:] {
		*covered[i+1].at(t, merged.Column) = *covered[0].at(t, merged.Column)
	}
	if !isQuestion || !slices.ContainsFunc(covered, func(r row) bool { return r.answer.Text != "" && r.answer.Text != covered[0].answer.Text }) {
		return
	}
	for i := range covered {
		covered[i].problem = ImportError{
			Column: sheet.ColumnName(merged.Column),
			Detail: fmt.Sprintf("The question is merged over rows %d to %d, which have several answers. Put the answers into one cell, or give each answer a question.", merged.First, merged.Last),
		}
	}
}

// at returns the row's cell in one of the table's columns.
func (r *row) at(t *table, column int) *sheet.Cell {
	switch column {
	case t.question:
		return &r.question
	case t.answer:
		return &r.answer
	}
	return &r.labels
}

// checkCells reports cells in doubt, unless the row has a problem already.
func (r *row) checkCells() {
	for _, cell := range []sheet.Cell{r.question, r.answer, r.labels} {
		if cell.Doubt != "" && r.problem.Detail == "" {
			r.problem = ImportError{Column: sheet.ColumnName(cell.Column), Detail: cell.Doubt}
		}
	}
}

// entries returns the valid rows, and reports the others and what cells leave out.
func (t *table) entries() ([]entry, []ImportError) {
	entries, errs := []entry{}, slices.Clone(t.errors)
	for _, r := range t.rows {
		e, problem := r.entry()
		if problem.Detail != "" {
			problem.Row, problem.Sheet = r.number, t.sheet
			errs = append(errs, problem)
			continue
		}
		entries = append(entries, e)
		for _, cell := range []sheet.Cell{r.question, r.answer} {
			if cell.Note != "" {
				errs = append(errs, ImportError{Row: r.number, Column: sheet.ColumnName(cell.Column), Sheet: t.sheet, Detail: cell.Note})
			}
		}
	}
	slices.SortStableFunc(errs, func(a, b ImportError) int { return cmp.Compare(a.Row, b.Row) })
	return entries, append(errs, t.others...)
}

// entry returns the row's entry, or what is wrong with the row.
func (r row) entry() (e entry, problem ImportError) {
	switch question, answer := r.question.Text, r.answer.Text; {
	case r.problem.Detail != "":
		return entry{}, r.problem
	case question == "" && answer == "":
		return entry{}, ImportError{Detail: "The row has neither a question nor an answer."}
	case answer == "":
		return entry{}, ImportError{Detail: "The row has a question but no answer."}
	case question == "":
		return entry{}, ImportError{Detail: "The row has an answer but no question."}
	}
	labels := strings.FieldsFunc(r.labels.Text, func(r rune) bool { return strings.ContainsRune(",，、;；\n", r) })
	e, invalid := newEntry(r.question.Text, r.answer.Text, labels)
	if invalid != nil {
		cells := map[string]sheet.Cell{"question": r.question, "answer": r.answer, "labels": r.labels}
		return entry{}, ImportError{Column: sheet.ColumnName(cells[invalid.field].Column), Detail: invalid.asSentence()}
	}
	return e, ImportError{}
}
