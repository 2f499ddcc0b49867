package xlsx_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"parley/internal/xlsx"
)

func TestUnclosedFileDoesNotOpen(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	book := xlsx.New(&file)
	book.Sheet("Records", xlsx.Column{Title: "Text"})
	book.Text("a row")
	book.EndRow()
	book.Flush()
	if _, err := excelize.OpenReader(bytes.NewReader(file.Bytes())); err == nil {
		t.Error("a workbook that was not closed opens")
	}
	book.Close()
	open(t, file.Bytes())
	for length := range file.Len() - 1 {
		if _, err := zip.NewReader(bytes.NewReader(file.Bytes()[:length]), int64(length)); err == nil {
			t.Fatalf("a file cut to %d of %d bytes opens", length, file.Len())
		}
	}
}

// limitedWriter fails after a number of bytes, like a client that disconnects.
type limitedWriter struct{ room int }

var errGone = errors.New("the client disconnected")

func (f *limitedWriter) Write(data []byte) (int, error) {
	if len(data) > f.room {
		n := f.room
		f.room = 0
		return n, errGone
	}
	f.room -= len(data)
	return len(data), nil
}

func TestWriterErrorIsReturnedByAllLaterCalls(t *testing.T) {
	t.Parallel()
	for _, room := range []int{0, 100, 5_000, 50_000} {
		book := xlsx.New(&limitedWriter{room: room})
		err := book.Sheet("Records", xlsx.Column{Title: "Text"})
		for i := 0; err == nil; i++ {
			if i > 1_000_000 {
				t.Fatalf("room %d: the error was not returned", room)
			}
			book.Text("row " + strconv.Itoa(i*i))
			err = book.EndRow()
		}
		book.Text("more")
		for name, err := range map[string]error{
			"the first": err, "EndRow": book.EndRow(), "Flush": book.Flush(),
			"Sheet": book.Sheet("More", xlsx.Column{Title: "Text"}), "Close": book.Close(), "Close again": book.Close(),
		} {
			if !errors.Is(err, errGone) {
				t.Errorf("room %d: %s returned %v", room, name, err)
			}
		}
	}
}

func TestMisuseIsAnError(t *testing.T) {
	t.Parallel()
	column := xlsx.Column{Title: "Text"}
	for name, use := range map[string]func(*xlsx.Workbook){
		"no sheet":        func(*xlsx.Workbook) {},
		"no columns":      func(b *xlsx.Workbook) { b.Sheet("Records") },
		"cell first":      func(b *xlsx.Workbook) { b.Text("x") },
		"row first":       func(b *xlsx.Workbook) { b.EndRow() },
		"too many cells":  func(b *xlsx.Workbook) { b.Sheet("Records", column); b.Text("a"); b.Empty() },
		"same name":       func(b *xlsx.Workbook) { b.Sheet("Records", column); b.Sheet("RECORDS", column) },
		"no name":         func(b *xlsx.Workbook) { b.Sheet("", column) },
		"long name":       func(b *xlsx.Workbook) { b.Sheet(strings.Repeat("x", 32), column) },
		"slash in name":   func(b *xlsx.Workbook) { b.Sheet("in/out", column) },
		"quote at name":   func(b *xlsx.Workbook) { b.Sheet("'x", column) },
		"control in name": func(b *xlsx.Workbook) { b.Sheet("a\x01", column) },
		"closed":          func(b *xlsx.Workbook) { b.Sheet("Records", column); b.Close() },
	} {
		var file bytes.Buffer
		book := xlsx.New(&file)
		use(book)
		if err := book.EndRow(); name != "no sheet" && err == nil {
			t.Errorf("%s: EndRow returned no error", name)
		}
		if err := book.Close(); err == nil {
			t.Errorf("%s: Close returned no error", name)
		}
		if _, err := excelize.OpenReader(&file); name != "closed" && err == nil {
			t.Errorf("%s: the file opens", name)
		}
	}
}
