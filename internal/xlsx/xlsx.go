// Package xlsx writes an Excel workbook row by row straight to a writer, in
// memory that does not grow with the rows.
//
//	book := xlsx.New(w)
//	book.Sheet("Records", xlsx.Column{Title: "Question", Width: 60}, xlsx.Column{Title: "At", Width: 20})
//	for … {
//		book.Text(question)
//		book.Time(at.In(zone))
//		if err := book.EndRow(); err != nil {
//			return err // and leave the workbook unclosed: what was written is no valid file
//		}
//	}
//	return book.Close()
//
// # Text
//
// Text is stored as inline strings, which no reader takes for formulas. Blanks,
// tabs and line breaks stay as they are: LF, CRLF and CR each come back as what
// they were. What a cell cannot say is shown escaped, by Excel's own rule:
//
//   - a character that XML forbids (U+0000 to U+001F but tab, LF and CR; U+FFFE;
//     U+FFFF) is _xHHHH_, its number in four upper-case hexadecimal digits;
//   - an underscore that begins what looks like an escape (LibreOffice takes one
//     digit for one) is _x005F_, so that such text is read as it was written;
//   - a run of bytes that are not UTF-8 is U+FFFD and cannot be read back.
//
// Undone by one rule: from left to right, each _xHHHH_ is the character of that
// number. Excel, LibreOffice and excelize apply it by themselves; openpyxl hands
// the escapes out and undoes them with openpyxl.utils.escape.unescape. LibreOffice
// reads each line break of a text of several lines as LF.
//
// # Limits
//
// A cell holds 32,767 UTF-16 units ([Cut] says what fits) and a sheet 1,048,576
// rows; what follows goes to a further sheet with the same header.
//
// A Workbook belongs to one goroutine at a time.
package xlsx

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/flate"
)

const (
	// maxRows is what Excel shows of a sheet.
	maxRows = 1 << 20
	// maxBytes keeps a sheet's XML, whose last row may still add some megabytes,
	// below 4 GiB: Excel does not open a streamed part that needs ZIP64.
	maxBytes = 4<<30 - 64<<20
	// chunk is how much goes from one stage to the next at a time: rows to the
	// compressor, compressed bytes to the writer.
	chunk = 32 << 10
)

var (
	errNoSheet = errors.New("xlsx: the workbook has no sheet")
	errClosed  = errors.New("xlsx: the workbook is closed")
)

// Column is the head of a column.
type Column struct {
	Title string
	Width float64 // in characters; zero: the reader's default
}

// Workbook is a file being written. The methods that write cells return nothing:
// the first failure, the writer's or the caller's, is what EndRow, Sheet, Flush
// and Close return from then on.
type Workbook struct {
	zip     *zip.Writer
	deflate *flate.Writer // shared by the parts, which follow one another
	part    io.Writer     // the sheet being written
	buf     []byte        // its XML that did not leave yet
	size    int64         // its XML that did
	err     error

	sheets  []sheet // all of them, the last is being written
	title   string  // the name that the sheets of the present table begin with
	volume  int     // the present sheet's number among them, from 1
	columns []Column
	openers []string // each column's `<c r="A`

	row     int    // the present row's number, the header's is 1
	address []byte // the rest of its cells' addresses: `12"`
	cells   int    // how many of its cells are written; none: it did not begin

	maxRows  int
	maxBytes int64
}

// New begins a workbook that goes to w. Nothing is written before the first Sheet.
func New(w io.Writer) *Workbook {
	// An error here means that the level does not exist.
	deflate, _ := flate.NewWriter(nil, flate.BestSpeed)
	b := &Workbook{
		// The archive adopts a bufio.Writer as its own buffer.
		zip:      zip.NewWriter(bufio.NewWriterSize(w, chunk)),
		deflate:  deflate,
		buf:      make([]byte, 0, 2*chunk),
		maxRows:  maxRows,
		maxBytes: maxBytes,
	}
	b.zip.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		deflate.Reset(out)
		return deflate, nil
	})
	return b
}

// Sheet ends the present sheet and begins another. Its header row is bold, stays
// in sight and filters. The start of the first sheet is flushed, so that a file
// begins to arrive however long the first row takes.
//
// When a sheet is full the next row begins another one, named "Records 2",
// "Records 3" and so on after "Records". Excel's rules for names hold: up to 31
// UTF-16 units, the number included, no two alike, none of []:*?/\.
func (b *Workbook) Sheet(name string, columns ...Column) error {
	if len(columns) == 0 || len(columns) > 1<<14 {
		b.fail(fmt.Errorf("xlsx: sheet %q has %d columns", name, len(columns)))
	}
	first := len(b.sheets) == 0
	if first {
		b.addPart("_rels/.rels", packageRels)
		b.addPart("xl/styles.xml", styles)
	}
	b.endSheet()
	b.title, b.volume = name, 0
	b.columns, b.openers = columns, make([]string, len(columns))
	for i := range columns {
		b.openers[i] = `<c r="` + letters(i)
	}
	b.beginSheet()
	if first {
		return b.Flush()
	}
	return b.err
}

// Text writes a cell of text. Text that is longer than a cell ends in "…"; the
// caller who wants the rest on another sheet cuts it first, see [Cut].
func (b *Workbook) Text(text string) {
	if text == "" {
		b.Empty()
		return
	}
	if head, rest := Cut(text, ellipsis); rest != "" {
		text = head + ellipsis
	}
	if temptsEditor(text) {
		b.openCell(quotedCell)
	} else {
		b.openCell(textCell)
	}
	b.buf = append(appendText(b.buf, text), textEnd...)
}

// Number writes a cell with a number. What is no number (NaN, an infinity) is an
// empty cell.
func (b *Workbook) Number(number float64) {
	if math.IsNaN(number) || math.IsInf(number, 0) {
		b.Empty()
		return
	}
	b.openCell(valueCell)
	format := byte('f')
	if size := math.Abs(number); size != 0 && (size < 1e-5 || size >= 1e15) {
		format = 'E'
	}
	b.buf = append(strconv.AppendFloat(b.buf, number, format, -1, 64), valueEnd...)
}

// Time writes a cell with a date and time of day as the clocks in the time's zone
// showed it, to the millisecond; the cell shows the seconds. A time before March
// 1900, where readers disagree about its number, or after the year 9999 is text.
func (b *Workbook) Time(t time.Time) {
	const (
		day       = 24 * 60 * 60 * 1000
		unixEpoch = 25_569 * day
		march1900 = 61 * day
		year10000 = 2_958_466 * day
	)
	_, offset := t.Zone()
	serial := unixEpoch + t.UnixMilli() + int64(offset)*1000
	if serial < march1900 || serial >= year10000 {
		b.Text(t.Format(time.DateTime))
		return
	}
	b.openCell(timeCell)
	b.buf = append(strconv.AppendFloat(b.buf, float64(serial)/day, 'f', -1, 64), valueEnd...)
}

// Empty leaves a cell out.
func (b *Workbook) Empty() {
	b.nextCell()
}

// EndRow ends the row; the cells that it lacks are empty. It reports the first
// failure so far, its own or an earlier one.
func (b *Workbook) EndRow() error {
	if b.cells == 0 {
		b.beginRow()
	}
	b.cells = 0
	b.buf = append(b.buf, "</row>"...)
	if len(b.buf) >= chunk {
		b.spill()
	}
	return b.err
}

// Flush pushes everything so far to the writer, whose own buffer is the caller's
// affair. Without it bytes leave every 32 KiB; each call costs some compression.
func (b *Workbook) Flush() error {
	b.spill()
	if b.err == nil && b.part != nil {
		b.fail(b.deflate.Flush())
	}
	if b.err == nil {
		b.fail(b.zip.Flush())
	}
	return b.err
}

// Close ends the file. A workbook that failed or was never closed is not a valid
// one. Close does not close the writer.
func (b *Workbook) Close() error {
	if b.part == nil {
		b.fail(errNoSheet)
	}
	b.endSheet()
	b.addPart("xl/workbook.xml", workbook(b.sheets))
	b.addPart("xl/_rels/workbook.xml.rels", workbookRels(len(b.sheets)))
	b.addPart("[Content_Types].xml", contentTypes(len(b.sheets)))
	if b.err != nil {
		return b.err
	}
	err := b.zip.Close()
	b.fail(err)
	b.fail(errClosed)
	return err
}

// fail keeps the first error.
func (b *Workbook) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// addPart writes a small part of the file at once.
func (b *Workbook) addPart(name, content string) {
	if b.err != nil {
		return
	}
	part, err := b.zip.Create(name)
	if err == nil {
		_, err = io.WriteString(part, content)
	}
	b.fail(err)
}

func (b *Workbook) beginSheet() {
	b.volume++
	name := b.title
	if b.volume > 1 {
		name += " " + strconv.Itoa(b.volume)
	}
	if !validName(name) || b.hasSheet(name) {
		b.fail(fmt.Errorf("xlsx: %q cannot name a sheet here", name))
	}
	if b.err != nil {
		return
	}
	b.sheets = append(b.sheets, sheet{name: name, lastColumn: letters(len(b.columns) - 1)})
	part, err := b.zip.Create("xl/" + sheetFile(len(b.sheets)))
	b.fail(err)
	b.part, b.size, b.row = part, 0, 0
	b.buf = appendSheetStart(b.buf, b.columns, len(b.sheets) == 1)
	for _, column := range b.columns {
		b.openCell(headerCell)
		b.buf = append(appendText(b.buf, column.Title), textEnd...)
	}
	b.fail(b.EndRow())
}

func (b *Workbook) endSheet() {
	if b.part == nil || b.err != nil {
		return
	}
	if b.cells > 0 {
		b.fail(b.EndRow())
	}
	last := &b.sheets[len(b.sheets)-1]
	last.lastRow = b.row
	b.buf = fmt.Appendf(b.buf, sheetEnd, last.lastColumn, last.lastRow)
	b.spill()
}

// hasSheet compares as Excel does, without regard to case.
func (b *Workbook) hasSheet(name string) bool {
	return slices.ContainsFunc(b.sheets, func(s sheet) bool { return strings.EqualFold(s.name, name) })
}

func (b *Workbook) beginRow() {
	if b.part == nil {
		b.fail(errNoSheet)
		return
	}
	if b.row >= b.maxRows || b.size > b.maxBytes {
		b.endSheet()
		b.beginSheet()
	}
	b.row++
	b.address = append(strconv.AppendInt(b.address[:0], int64(b.row), 10), '"')
	b.buf = append(b.buf, `<row r="`...)
	b.buf = append(b.buf, b.address...)
	b.buf = append(b.buf, '>')
}

// nextCell moves to the next cell of the row and begins the row with its first;
// it returns the start of the cell's XML.
func (b *Workbook) nextCell() string {
	if b.cells >= len(b.columns) {
		b.fail(fmt.Errorf("xlsx: a row has more cells than the %d columns of sheet %q", len(b.columns), b.title))
		return ""
	}
	if b.cells == 0 {
		b.beginRow()
	}
	b.cells++
	return b.openers[b.cells-1]
}

// openCell begins the next cell with everything before its value.
func (b *Workbook) openCell(kind string) {
	opener := b.nextCell()
	b.buf = append(b.buf, opener...)
	b.buf = append(b.buf, b.address...)
	b.buf = append(b.buf, kind...)
}

// spill hands the XML so far to the compressor.
func (b *Workbook) spill() {
	if b.err == nil && len(b.buf) > 0 {
		n, err := b.part.Write(b.buf)
		b.size += int64(n)
		b.fail(err)
	}
	b.buf = b.buf[:0]
}
