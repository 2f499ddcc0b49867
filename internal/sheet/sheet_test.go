package sheet_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"parley/internal/sheet"
)

// open returns a workbook with one worksheet.
func open(t *testing.T, workbookProperties, styles, rows string) sheet.Table {
	t.Helper()
	var file bytes.Buffer
	w := zip.NewWriter(&file)
	for name, content := range map[string]string{
		"xl/workbook.xml":            `<workbook xmlns:r="r">` + workbookProperties + `<sheets><sheet name="a" sheetId="1" r:id="rId1"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="rId1" Type="http://purl.oclc.org/ooxml/officeDocument/relationships/worksheet" Target="/xl/worksheets/sheet1.xml"/></Relationships>`,
		"xl/styles.xml":              `<styleSheet>` + styles + `</styleSheet>`,
		"xl/worksheets/sheet1.xml":   `<x:worksheet xmlns:x="x"><x:sheetData>` + rows + `</x:sheetData></x:worksheet>`,
	} {
		part, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	opened, err := sheet.Open(file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return opened.Tables[0]
}

// show returns the formatted text of a number, with a format given by code or by number, or "doubt".
func show(t *testing.T, value, format string, is1904 bool) string {
	t.Helper()
	properties, id, custom := "", format, ""
	if is1904 {
		properties = `<workbookPr date1904="1"/>`
	}
	if strings.Trim(format, "0123456789") != "" || strings.HasPrefix(format, "0") {
		id = "164"
		var escaped bytes.Buffer
		for _, r := range format {
			fmt.Fprintf(&escaped, "&#%d;", r)
		}
		custom = `<numFmts><numFmt numFmtId="164" formatCode="` + escaped.String() + `"/></numFmts>`
	}
	table := open(t, properties, custom+`<cellXfs><xf numFmtId="`+id+`"/></cellXfs>`, `<x:row><x:c s="0"><x:v>`+value+`</x:v></x:c></x:row>`)
	var shown string
	if _, err := table.Rows(func(r sheet.Row) error {
		shown = r.Cells[0].Text
		if r.Cells[0].Doubt != "" {
			shown = "doubt"
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return shown
}

// 46095 is 14 March 2026. A format that depends on a locale yields a date that means the same in all locales.
func TestDatesAreNotAmbiguous(t *testing.T) {
	t.Parallel()
	const date, noon = "46095", "46095.395833333336"
	for _, c := range []struct{ value, format, want string }{
		{date, "14", "2026-03-14"},
		{date, "15", "2026-03-14"},
		{date, "16", "2026-03-14"},
		{date, "17", "2026-03-14"},
		{noon, "22", "2026-03-14 09:30"},
		{date, "27", "2026-03-14"},
		{date, "31", "2026-03-14"},
		{date, "36", "2026-03-14"},
		{date, "50", "2026-03-14"},
		{noon, "58", "2026-03-14 09:30"},
		{"0.5", "32", "12:00:00"},
		{"0.5", "20", "12:00"},
		{"0.75", "18", "6:00 PM"},
		{"0.01076388888888889", "45", "15:30"},
		{"0.05243055555555556", "45", "01:15:30"},
		{"1.25", "46", "30:00:00"},
		{"0.01076388888888889", "47", "15:30.0"},
		{"1.25", "[mm]:ss", "1800:00"},
		{date, "yyyy-mm-dd", "2026-03-14"},
		{date, "yyyy/m/d", "2026/3/14"},
		{date, `yyyy"年"m"月"d"日"`, "2026年3月14日"},
		{date, "yyyy年m月d日", "2026年3月14日"},
		{date, "d mmmm yyyy", "14 March 2026"},
		{date, "[$-409]mmm d, yyyy", "Mar 14, 2026"},
		{date, "dd/mm/yyyy", "2026-03-14"},
		{date, "mm/dd/yy", "2026-03-14"},
		{date, "yy-mm-dd", "2026-03-14"},
		{date, "m/d", "2026-03-14"},
		{date, "[$-404]e/m/d", "2026-03-14"},
		{date, "[$-404]mmmm d, yyyy", "2026-03-14"},
		{date, "[$-F800]dddd, mmmm dd, yyyy", "2026-03-14"},
		{date, "dddd", "2026-03-14"},
		{noon, "dd/mm/yyyy hh:mm", "2026-03-14 09:30"},
		{noon, "yyyy-mm-dd h:mm:ss AM/PM", "2026-03-14 9:30:00 AM"},
		{noon, `[$-404]上午/下午 hh"時"mm"分"`, "AM 09時30分"},
		{"46095.39583333334", "yyyy-mm-dd hh:mm:ss", "2026-03-14 09:30:00"},
		{"1", "yyyy-mm-dd", "1900-01-01"},
		{"61", "14", "1900-03-01"},
		{"60", "14", "doubt"},
		{"-1", "14", "doubt"},
		{"99999999", "14", "doubt"},
	} {
		if got := show(t, c.value, c.format, false); got != c.want {
			t.Errorf("%s in the format %s is %q, want %q", c.value, c.format, got, c.want)
		}
	}
	if got := show(t, "44633", "14", true); got != "2026-03-14" {
		t.Errorf("a date from 1904 is %q", got)
	}
	if got := show(t, "1.25", "[h]:mm", true); got != "30:00" {
		t.Errorf("a duration in a workbook from 1904 is %q", got)
	}
}

func TestNumbersAreShownAsFormatted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ value, format, want string }{
		{"0.30000000000000004", "1", "0"},
		{"0.30000000000000004", "General", "0.3"},
		{"886912345678", "General", "886912345678"},
		{"1.5E21", "General", "1.5E+21"},
		{"1234567890123450000", "General", "doubt"},
		{"1234567890123450000", "1", "doubt"},
		{"4000000000000000", "1", "4000000000000000"},
		{"1234567.891", "4", "1,234,567.89"},
		{"999.5", "3", "1,000"},
		{"1.005", "0.00", "1.01"},
		{"0.125", "0.0%", "12.5%"},
		{"0.07", "9", "7%"},
		{"1234.5", `"NT$"#,##0`, "NT$1,235"},
		{"1234.5", `[$¥-804]#,##0.00`, "¥1,234.50"},
		{"-1234.5", `_-"$"* #,##0.00_-;-"$"* #,##0.00_-;_-"$"* "-"??_-;_-@_-`, "-$1,234.50"},
		{"0", `_-"$"* #,##0.00_-;-"$"* #,##0.00_-;_-"$"* "-"??_-;_-@_-`, "$-"},
		{"-5", `0.00_);[Red](0.00)`, "(5.00)"},
		{"-5", "0.0", "-5.0"},
		{"123", "00000", "00123"},
		{"912345678", "0000-000-000", "0912-345-678"},
		{"5551234567", "(###) ###-####", "(555) 123-4567"},
		{"1234567", "[<=9999999]###-####;(###) ###-####", "123-4567"},
		{"5551234567", "[<=9999999]###-####;(###) ###-####", "(555) 123-4567"},
		{"5", `[>=10]"many";[<10]"few"`, "few"},
		{"3", `0" days"`, "3 days"},
		{"3.5", `0.0\ "kg"`, "3.5 kg"},
		{"0.5", "12", "1/2"},
		{"1.75", "12", "1 3/4"},
		{"0.333333", "13", "1/3"},
		{"2", "12", "2"},
		{"1.375", "# ?/8", "1 3/8"},
		{"12345", "11", "1.23E+04"},
		{"0.00012", "0.0E+00", "1.2E-04"},
		{"1500000", "0.0,,\"M\"", "1.5M"},
		{"0.5", ".00", ".50"},
		{"12.5", "0.##", "12.5"},
		{"12", "0.##", "12"},
		{"123", "@", "123"},
		{"0", "0;-0;;@", "doubt"},
		{"7", ";;;", "doubt"},
		{"-7", "General", "-7"},
		{"7", `General" pieces"`, "7 pieces"},
		{"x", "1", "x"},
	} {
		if got := show(t, c.value, c.format, false); got != c.want {
			t.Errorf("%s in the format %s is %q, want %q", c.value, c.format, got, c.want)
		}
	}
}

// Any format and value yield a text or a doubt.
func FuzzFormats(f *testing.F) {
	f.Add(46095.5, "yyyy-mm-dd hh:mm:ss.000")
	f.Add(-1.5, `_-"$"* #,##0.00_-;[Red]-0.0E+00;# ?/?;@`)
	f.Add(1e300, `[h]:mm;[>=1e5]上午/下午;\`)
	f.Add(0.0, "General")
	f.Fuzz(func(t *testing.T, value float64, format string) {
		if text, doubt := sheet.ShowNumber(value, format); text == "" && doubt == "" {
			t.Errorf("%v in the format %q shows nothing", value, format)
		}
	})
}
