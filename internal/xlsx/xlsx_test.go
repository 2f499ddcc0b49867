package xlsx_test

import (
	"archive/zip"
	"bytes"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"parley/internal/xlsx"
)

// write returns a complete file.
func write(t *testing.T, fill func(*xlsx.Workbook)) []byte {
	t.Helper()
	var file bytes.Buffer
	book := xlsx.New(&file)
	fill(book)
	if err := book.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return file.Bytes()
}

func open(t *testing.T, file []byte) *excelize.File {
	t.Helper()
	book, err := excelize.OpenReader(bytes.NewReader(file))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { book.Close() })
	return book
}

// rowsOf returns the raw values of a sheet's cells.
func rowsOf(t *testing.T, file []byte, sheet string) [][]string {
	t.Helper()
	rows, err := open(t, file).GetRows(sheet, excelize.Options{RawCellValue: true})
	if err != nil {
		t.Fatalf("rows of %s: %v", sheet, err)
	}
	return rows
}

// parts returns the contents of the file's parts by name.
func parts(t *testing.T, file []byte) map[string]string {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatalf("unzip: %v", err)
	}
	contents := map[string]string{}
	for _, entry := range archive.File {
		part, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			t.Fatalf("%s: %v", entry.Name, err)
		}
		contents[entry.Name] = string(content)
		const january1 = 1<<5 | 1 // of 1980
		if entry.ModifiedDate != january1 || entry.ModifiedTime != 0 {
			t.Errorf("%s is dated %v", entry.Name, entry.Modified)
		}
	}
	return contents
}

func TestHeaderIsBoldFrozenAndHasFilters(t *testing.T) {
	t.Parallel()
	columns := make([]xlsx.Column, 28)
	for i := range columns {
		columns[i] = xlsx.Column{Title: "輸出 <" + strconv.Itoa(i) + ">", Width: float64(10 + i)}
	}
	columns[3].Width = 0
	file := write(t, func(book *xlsx.Workbook) {
		book.Sheet("Records", columns...)
		for range 3 {
			book.EndRow()
		}
	})
	book := open(t, file)

	if title, _ := book.GetCellValue("Records", "AB1"); title != "輸出 <27>" {
		t.Errorf("the last title is %q", title)
	}
	style, err := book.GetCellStyle("Records", "AB1")
	if err != nil {
		t.Fatal(err)
	}
	if format, err := book.GetStyle(style); err != nil || format.Font == nil || !format.Font.Bold {
		t.Errorf("the header is not bold: %+v, %v", format, err)
	}
	if panes, err := book.GetPanes("Records"); err != nil || !panes.Freeze || panes.YSplit != 1 || panes.XSplit != 0 {
		t.Errorf("panes %+v, %v", panes, err)
	}
	if width, err := book.GetColWidth("Records", "AB"); err != nil || width != 37 {
		t.Errorf("width %v, %v", width, err)
	}
	all := parts(t, file)
	if !strings.HasSuffix(all["xl/worksheets/sheet1.xml"], `</sheetData><autoFilter ref="A1:AB4"/></worksheet>`) {
		t.Error("the filter does not cover the used range")
	}
	if !strings.Contains(all["xl/workbook.xml"], `>'Records'!$A$1:$AB$4</definedName>`) {
		t.Error("the workbook does not define the filter's range")
	}
}

func TestCellsAreTyped(t *testing.T) {
	t.Parallel()
	numbers := []float64{0, 1, -1, 0.1, 1.0 / 3, 1e15, 1e-7, 123456789012345, math.MaxFloat64, math.SmallestNonzeroFloat64}
	file := write(t, func(book *xlsx.Workbook) {
		book.Sheet("Records", xlsx.Column{Title: "A"}, xlsx.Column{Title: "B"}, xlsx.Column{Title: "C"})
		for _, number := range numbers {
			book.Number(number)
			book.EndRow()
		}
		for _, none := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			book.Number(none)
			book.Text("")
			book.Text("beside")
			book.EndRow()
		}
	})
	rows := rowsOf(t, file, "Records")[1:]
	for i, number := range numbers {
		if got, err := strconv.ParseFloat(rows[i][0], 64); err != nil || got != number {
			t.Errorf("%v reads back as %q", number, rows[i][0])
		}
	}
	for _, row := range rows[len(numbers):] {
		if !slices.Equal(row, []string{"", "", "beside"}) {
			t.Errorf("a row with NaN and empty text is %q", row)
		}
	}
	if sheet := parts(t, file)["xl/worksheets/sheet1.xml"]; strings.Contains(sheet, `r="A12"`) || strings.Contains(sheet, `r="B12"`) {
		t.Error("empty cells are written")
	}
}

func TestTimesAreDatesInTheirZone(t *testing.T) {
	t.Parallel()
	taipei := time.FixedZone("Asia/Taipei", 8*60*60)
	newYork := time.FixedZone("America/New_York", -4*60*60)
	cases := []struct {
		time  time.Time
		shown string
	}{
		{time.Date(2026, 2, 28, 20, 15, 30, 0, time.UTC).In(taipei), "2026-03-01 04:15:30"},
		{time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC).In(newYork), "2026-02-28 22:00:00"},
		{time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC), "2024-02-29 23:59:59"},
		{time.Date(1969, 12, 31, 23, 59, 58, 0, time.UTC), "1969-12-31 23:59:58"},
		{time.Date(1900, 3, 1, 0, 0, 0, 0, time.UTC), "1900-03-01 00:00:00"},
		{time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), "9999-12-31 23:59:59"},
		{time.Date(1900, 2, 28, 12, 0, 0, 0, time.UTC), "1900-02-28 12:00:00"}, // text
		{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "10000-01-01 00:00:00"}, // text
		{time.Time{}, "0001-01-01 00:00:00"},                                   // text
	}
	file := write(t, func(book *xlsx.Workbook) {
		book.Sheet("Records", xlsx.Column{Title: "At"})
		for _, c := range cases {
			book.Time(c.time)
			book.EndRow()
		}
		book.Time(time.Date(2026, 3, 1, 12, 0, 0, 250_999_999, time.UTC))
		book.EndRow()
	})
	book := open(t, file)
	for i, c := range cases {
		cell := "A" + strconv.Itoa(i+2)
		if got, err := book.GetCellValue("Records", cell); err != nil || got != c.shown {
			t.Errorf("%v is shown as %q, want %q: %v", c.time, got, c.shown, err)
		}
		kind, err := book.GetCellType("Records", cell)
		if text := i >= 6; err != nil || text != (kind == excelize.CellTypeInlineString) {
			t.Errorf("%v has cell type %v, %v", c.time, kind, err)
		}
	}
	raw := rowsOf(t, file, "Records")
	serial, err := strconv.ParseFloat(raw[len(raw)-1][0], 64)
	if err != nil {
		t.Fatal(err)
	}
	if ms := math.Mod(serial*86_400_000, 1000); math.Abs(ms-250) > 0.1 {
		t.Errorf("the milliseconds are %v", ms)
	}
}

func TestRowsAfterAFullSheetGoToAnother(t *testing.T) {
	t.Parallel()
	file := write(t, func(book *xlsx.Workbook) {
		book.Limit(4, math.MaxInt64) // the header and three rows
		book.Sheet("Records", xlsx.Column{Title: "Number"}, xlsx.Column{Title: "Text"})
		for i := range 7 {
			book.Number(float64(i))
			book.Text("row " + strconv.Itoa(i))
			book.EndRow()
		}
		book.Sheet("Overflow", xlsx.Column{Title: "Text"})
		for range 3 {
			book.EndRow() // empty rows count too; the sheet is now full
		}
	})
	if got := open(t, file).GetSheetList(); !slices.Equal(got, []string{"Records", "Records 2", "Records 3", "Overflow"}) {
		t.Fatalf("the sheets are %q", got)
	}
	next := 0
	for _, sheet := range []string{"Records", "Records 2", "Records 3"} {
		rows := rowsOf(t, file, sheet)
		if len(rows) > 4 || !slices.Equal(rows[0], []string{"Number", "Text"}) {
			t.Errorf("%s has %d rows under %q", sheet, len(rows), rows[0])
		}
		for _, row := range rows[1:] {
			if row[0] != strconv.Itoa(next) || row[1] != "row "+row[0] {
				t.Errorf("%s has %q, want row %d", sheet, row, next)
			}
			next++
		}
	}
	if next != 7 {
		t.Errorf("%d rows, want 7", next)
	}
	for name, want := range map[string]string{"1": `"A1:B4"`, "3": `"A1:B2"`, "4": `"A1:A4"`} {
		if !strings.Contains(parts(t, file)["xl/worksheets/sheet"+name+".xml"], "<autoFilter ref="+want) {
			t.Errorf("the filter of sheet %s does not cover %s", name, want)
		}
	}
}

func TestSheetXMLIsBounded(t *testing.T) {
	t.Parallel()
	file := write(t, func(book *xlsx.Workbook) {
		book.Limit(1<<20, 100_000)
		book.Sheet("Records", xlsx.Column{Title: "Text"})
		for range 100 {
			book.Text(strings.Repeat("x", 10_000))
			book.EndRow()
		}
	})
	sheets := open(t, file).GetSheetList()
	if len(sheets) < 7 || len(sheets) > 10 {
		t.Errorf("a megabyte of text is on %d sheets", len(sheets))
	}
	rows := 0
	for _, sheet := range sheets {
		rows += len(rowsOf(t, file, sheet)) - 1
	}
	if rows != 100 {
		t.Errorf("%d rows, want 100", rows)
	}
}

func TestFileIsStreamed(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	book := xlsx.New(&file)
	if file.Len() > 0 {
		t.Fatal("New wrote to the writer")
	}
	book.Sheet("Records", xlsx.Column{Title: "Text"})
	if !bytes.HasPrefix(file.Bytes(), []byte("PK")) {
		t.Fatal("the start of the first sheet was not flushed")
	}
	flushed := file.Len()
	book.Text("a row")
	book.EndRow()
	if file.Len() != flushed {
		t.Error("a single row was written through")
	}
	if err := book.Flush(); err != nil || file.Len() == flushed {
		t.Errorf("Flush wrote %d bytes: %v", file.Len()-flushed, err)
	}
	if err := book.Close(); err != nil {
		t.Fatal(err)
	}
	if rows := rowsOf(t, file.Bytes(), "Records"); rows[1][0] != "a row" {
		t.Errorf("a flushed file has rows %q", rows)
	}
}

// Not parallel: allocations are counted for the whole process.
func TestRowsAllocateNothing(t *testing.T) {
	book := xlsx.New(io.Discard)
	book.Sheet("Records", xlsx.Column{Title: "A"}, xlsx.Column{Title: "B"}, xlsx.Column{Title: "C"})
	at, text := time.Now(), strings.Repeat("=_x0041_ <\x01> 中😀\r\n", 20)
	if n := testing.AllocsPerRun(2000, func() {
		book.Text(text)
		book.Number(math.Pi)
		book.Time(at)
		book.EndRow()
	}); n != 0 {
		t.Errorf("a row allocates %v times", n)
	}
}

func TestSheetNamesAreQuoted(t *testing.T) {
	t.Parallel()
	const name = `Bob's <"&"> 記錄`
	file := write(t, func(book *xlsx.Workbook) {
		book.Sheet(name, xlsx.Column{Title: "Text"})
	})
	if got := open(t, file).GetSheetList(); !slices.Equal(got, []string{name}) {
		t.Errorf("the sheets are %q", got)
	}
	if want := `>'Bob''s &lt;&quot;&amp;&quot;&gt; 記錄'!$A$1:$A$1<`; !strings.Contains(parts(t, file)["xl/workbook.xml"], want) {
		t.Error("the filter's range is not quoted")
	}
}
