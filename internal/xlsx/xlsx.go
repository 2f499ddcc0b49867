// Package xlsx writes an Excel workbook row by row to a writer, in constant memory.
//
//	book := xlsx.New(w)
//	book.Sheet("Records", xlsx.Column{Title: "Question", Width: 60}, xlsx.Column{Title: "At", Width: 20})
//	for … {
//		book.Text(question)
//		book.Time(at.In(zone))
//		if err := book.EndRow(); err != nil {
//			return err // do not close the workbook: the file must not look complete
//		}
//	}
//	return book.Close()
//
// # Text
//
// Text is stored as inline strings (ECMA-376 part 1, 18.3.1.53), which no reader takes for
// formulas. Spaces, tabs and line breaks are preserved: LF, CRLF and CR each read back as
// written. Characters that a cell cannot hold are escaped by the rule of ST_Xstring (ECMA-376
// part 1, 22.9.2.19):
//
//   - a character that XML forbids (U+0000 to U+001F except tab, LF and CR; U+FFFE; U+FFFF) is
//     _xHHHH_, its code in four upper-case hexadecimal digits;
//   - an underscore that begins what looks like an escape is _x005F_, so that such text reads
//     back as written (LibreOffice accepts escapes of one digit);
//   - a run of bytes that are not UTF-8 is U+FFFD and is lost.
//
// One rule decodes it: from left to right, each _xHHHH_ is the character with that code. Excel,
// LibreOffice and excelize apply it. openpyxl returns the escapes, which
// openpyxl.utils.escape.unescape decodes. LibreOffice reads every line break of a multi-line
// text as LF.
//
// # Limits
//
// These are Excel's limits. A cell holds 32,767 UTF-16 units ([Cut] splits longer text). A sheet
// holds 16,384 columns and 1,048,576 rows, header included; further rows go to another sheet
// with the same header.
//
// A Workbook is not safe for concurrent use.
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
	// maxRows and maxColumns are Excel's limits for a sheet.
	maxRows    = 1 << 20
	maxColumns = 1 << 14
	// maxBytes keeps a sheet's XML below 4 GiB, with room for a last row of some megabytes.
	// Excel does not open a streamed part that needs ZIP64.
	maxBytes = 4<<30 - 64<<20
	// bufferSize is the size of the writes to the compressor and to the writer, in bytes.
	bufferSize = 32 << 10
)

var (
	errNoSheet = errors.New("xlsx: the workbook has no sheet")
	errClosed  = errors.New("xlsx: the workbook is closed")
)

// Column describes a column.
type Column struct {
	Title string
	// Width is in units of the width of a digit in the default font, as Excel shows it. 0 means
	// the reader's default.
	Width float64
}

// Workbook writes a file. The methods that write cells return no error: EndRow, Sheet, Flush and
// Close return the first error, of the writer or of a wrong call, from then on.
type Workbook struct {
	zip     *zip.Writer
	deflate *flate.Writer // shared by the parts, which follow one another
	part    io.Writer     // the current sheet
	buf     []byte        // the sheet's XML that waits for the compressor
	size    int64         // bytes of the sheet's XML that the compressor has got
	err     error

	sheets  []sheet // all so far; the last one is current
	title   string  // the name of the table, which may span several sheets
	volume  int     // the current sheet's number in the table, from 1
	columns []Column
	openers []string // `<c r="A` of each column

	row     int    // the current row's number; the header is 1
	address []byte // the rest of a cell's address in it: `12"`
	cells   int    // cells written to it; 0 means that the row has not begun

	maxRows  int
	maxBytes int64
}

// New returns a workbook that is written to w. It writes nothing before the first Sheet.
func New(w io.Writer) *Workbook {
	// The only possible error is an invalid level.
	deflate, _ := flate.NewWriter(nil, flate.BestSpeed)
	b := &Workbook{
		// zip.NewWriter uses a bufio.Writer as its own buffer.
		zip:      zip.NewWriter(bufio.NewWriterSize(w, bufferSize)),
		deflate:  deflate,
		buf:      make([]byte, 0, 2*bufferSize),
		maxRows:  maxRows,
		maxBytes: maxBytes,
	}
	b.zip.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		deflate.Reset(out)
		return deflate, nil
	})
	return b
}

// Sheet ends the current sheet and begins another. Its header row is bold, frozen and has filters.
// The start of the first sheet is flushed, so that a download begins before the first row.
//
// After a full sheet, say "Records", the next row begins a sheet "Records 2", and so on. Names
// must follow Excel's rules: up to 31 UTF-16 units with the number, unique without regard to
// case, none of []:*?/\.
func (b *Workbook) Sheet(name string, columns ...Column) error {
	if len(columns) == 0 || len(columns) > maxColumns {
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

// Text writes a cell of text. Text that is too long for a cell is truncated and ends in "…". To
// keep the rest, split it first with [Cut].
func (b *Workbook) Text(text string) {
	if text == "" {
		b.Empty()
		return
	}
	if head, rest := Cut(text, ellipsis); rest != "" {
		text = head + ellipsis
	}
	if looksLikeFormula(text) {
		b.openCell(quotedCell)
	} else {
		b.openCell(textCell)
	}
	b.buf = append(appendText(b.buf, text), textEnd...)
}

// Number writes a cell with a number. NaN and infinities become an empty cell.
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

// Time writes a cell with the local date and time of t's zone, as a serial number: days since
// 30 December 1899, precise to the millisecond. The cell shows seconds. A time before March 1900,
// where Excel counts a 29 February that did not exist, or after the year 9999 is written as text.
func (b *Workbook) Time(t time.Time) {
	const (
		day       = 24 * 60 * 60 * 1000 // in milliseconds
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

// Empty writes an empty cell.
func (b *Workbook) Empty() {
	b.nextCell()
}

// EndRow ends the row. Cells that were not written are empty. It returns the first error so far.
func (b *Workbook) EndRow() error {
	if b.cells == 0 {
		b.beginRow()
	}
	b.cells = 0
	b.buf = append(b.buf, "</row>"...)
	if len(b.buf) >= bufferSize {
		b.spill()
	}
	return b.err
}

// Flush writes everything so far to the writer. Without it output is written every 32 KiB. Each
// call makes the file a little larger.
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

// Close completes the file. After an error, or without Close, the file does not open. Close does
// not close the writer.
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

// partTime is the time of all parts: the first that the zip format can express. Without one they would
// have the day 0 of the month 0, which some readers refuse.
var partTime = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

// createPart begins a part of the file.
func (b *Workbook) createPart(name string) (io.Writer, error) {
	return b.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: partTime})
}

// addPart writes a whole part of the file.
func (b *Workbook) addPart(name, content string) {
	if b.err != nil {
		return
	}
	part, err := b.createPart(name)
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
		b.fail(fmt.Errorf("xlsx: %q is not a valid sheet name or is already used", name))
	}
	if b.err != nil {
		return
	}
	b.sheets = append(b.sheets, sheet{name: name, lastColumn: letters(len(b.columns) - 1)})
	part, err := b.createPart("xl/" + sheetFile(len(b.sheets)))
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

// hasSheet reports whether a sheet has the name, without regard to case, as Excel compares them.
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

// nextCell advances to the next cell, begins the row if it is the first, and returns the start of
// the cell's XML.
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

// openCell appends everything of the next cell that precedes its value.
func (b *Workbook) openCell(kind string) {
	opener := b.nextCell()
	b.buf = append(b.buf, opener...)
	b.buf = append(b.buf, b.address...)
	b.buf = append(b.buf, kind...)
}

// spill writes the buffered XML to the compressor.
func (b *Workbook) spill() {
	if b.err == nil && len(b.buf) > 0 {
		n, err := b.part.Write(b.buf)
		b.size += int64(n)
		b.fail(err)
	}
	b.buf = b.buf[:0]
}
