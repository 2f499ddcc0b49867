// Package sheet reads the tables of .xlsx workbooks and of delimited text, as a spreadsheet program shows them. A
// cell whose meaning is lost or ambiguous has a Doubt.
package sheet

import (
	"bytes"
	"strings"

	"parley/internal/apperr"
)

// The limits of a file.
const (
	maxUncompressed = 128 << 20  // bytes of the parts that are markup, and of the texts of a table
	maxElements     = 1_000_000  // XML elements of the parts that are not worksheets
	maxSheetMarkup  = 2_000_000  // XML elements of the worksheets, those of empty cells included
	maxTag          = 64 << 10   // bytes of a tag with its attributes
	maxCellText     = 4 * 32_767 // bytes of a cell: its characters, of up to four bytes
	maxCells        = 4_000_000  // cells of a text, empty ones included
	maxRowNumber    = 1 << 20    // rows of a worksheet
	maxColumns      = 1 << 14    // columns of a worksheet
	maxAreas        = 100_000    // merged areas, and links, of a worksheet
	maxText         = "32 KiB"   // the limit of a cell in messages
	unpackedLimit   = "128 MiB"  // maxUncompressed in messages
)

// File is a file's tables: the worksheets of a workbook, or the possible readings of a text.
type File struct {
	Tables []Table
	// IsText reports whether the tables are readings of one text, most likely first.
	IsText bool
}

// Table is a worksheet, or a text read with an encoding and a separator.
type Table struct {
	Name     string // of the worksheet
	Encoding string // of the text
	// IsGuess reports whether the text's bytes do not prove the encoding.
	IsGuess bool
	Hidden  bool
	// Rows calls visit for each row that is not blank, until visit fails. The layout is complete
	// after the last row.
	Rows func(visit func(Row) error) (*Layout, error)
}

// Row is a row of a table. Rows are counted from 1, blank ones included.
type Row struct {
	Number int
	Hidden bool
	Cells  []Cell // those that are not empty, in the order of their columns
}

// Cell is a cell of a row.
type Cell struct {
	Column int // counted from 0
	Text   string
	Doubt  string // a sentence about why Text may differ from the meaning of the cell; "" if it does not
	Note   string // a sentence about content that Text omits
	Hidden bool   // the column is hidden
}

// Refuse returns the error for a file that cannot be read as a table.
func Refuse(message string) *apperr.Error {
	return &apperr.Error{
		Kind:       apperr.InvalidRequest,
		Message:    message,
		Violations: []apperr.Violation{{In: "body", Pointer: "/file", Detail: message}},
	}
}

func unreadable(cause error) error {
	err := Refuse("The file cannot be read as .xlsx: open it in a spreadsheet program and save it again.")
	err.Err = cause
	return err
}

func tooComplex() error {
	return apperr.New(apperr.TooLarge, "The file has too many elements, such as formatted empty cells or merged cells. Copy the rows into a new file.")
}

// Open reads a file in the format that its content shows, whatever its name.
func Open(file []byte) (*File, error) {
	if bytes.HasPrefix(file, []byte("PK\x03\x04")) {
		return openWorkbook(file)
	}
	if format := binaryFormat(file); format != "" {
		return nil, RefuseFormat(format)
	}
	return openText(file)
}

// ColumnName returns the name of a column, counted from 0, as spreadsheet programs show it.
func ColumnName(column int) string {
	name := string(rune('A' + column%26))
	if column >= 26 {
		return ColumnName(column/26-1) + name
	}
	return name
}

// Layout holds properties of cells that are known only after the last row of a worksheet.
type Layout struct {
	links  map[position]link
	ranges []linkedArea
	merged []area
}

type position struct{ row, column int }

// area is a rectangle of cells, ends included.
type area struct{ from, to position }

func (a area) contains(p position) bool {
	return a.from.row <= p.row && p.row <= a.to.row && a.from.column <= p.column && p.column <= a.to.column
}

type link struct{ target, place string }

type linkedArea struct {
	area
	link
}

// Merged is cells of one column that are merged into one.
type Merged struct{ Column, First, Last int }

// Merged returns the merged areas of more than one row that begin in a column.
func (l *Layout) Merged(column int) []Merged {
	var found []Merged
	for _, a := range l.merged {
		if a.from.column == column && a.to.row > a.from.row {
			found = append(found, Merged{column, a.from.row, a.to.row})
		}
	}
	return found
}

// Link adds the address of a cell's link to its text, or notes that it leads to another place in
// the file.
func (l *Layout) Link(row int, cell *Cell) {
	at := position{row, cell.Column}
	found, ok := l.links[at]
	for i := 0; !ok && i < len(l.ranges); i++ {
		found, ok = l.ranges[i].link, l.ranges[i].contains(at)
	}
	switch {
	case !ok || cell.Text == "":
	case found.target != "":
		cell.Text = withLink(cell.Text, found.target)
	case found.place != "":
		cell.Note = "The cell links to another place in the file. Its text was imported without the link."
	}
}

// withLink returns a text with the address of its link in parentheses, unless it contains it.
func withLink(text, address string) string {
	shown := strings.TrimPrefix(strings.TrimPrefix(address, "mailto:"), "tel:")
	plain := func(s string) string {
		s = strings.ToLower(strings.TrimSpace(s))
		for _, scheme := range []string{"https://", "http://", "mailto:", "tel:"} {
			s = strings.TrimPrefix(s, scheme)
		}
		return strings.TrimSuffix(s, "/")
	}
	if shown == "" || strings.Contains(plain(text), plain(shown)) {
		return text
	}
	return strings.TrimSpace(text) + " (" + shown + ")"
}
