package faq_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"

	"parley/internal/faq"
)

// show returns a table as lines: each FAQ, then each error.
func show(table faq.Table) string {
	var lines []string
	for _, row := range table.Rows {
		lines = append(lines, strings.Join(append([]string{row.Question, row.Answer}, row.Labels...), "|"))
	}
	for _, e := range table.Errors {
		detail := strings.Join(strings.Fields(e.Detail)[:min(4, len(strings.Fields(e.Detail)))], " ")
		lines = append(lines, fmt.Sprintf("%s!%s%d: %s", e.Sheet, e.Column, e.Row, detail))
	}
	return strings.Join(lines, "\n")
}

func checkTable(t *testing.T, name string, file []byte, want ...string) {
	t.Helper()
	table, err := faq.ReadTable(file)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if got := show(table); got != strings.Join(want, "\n") {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, strings.Join(want, "\n"))
	}
}

func checkRefusal(t *testing.T, name string, file []byte, words ...string) {
	t.Helper()
	_, err := faq.ReadTable(file)
	if err == nil {
		t.Errorf("%s is not refused", name)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %q does not say %q", name, err, word)
		}
	}
}

// Files in the forms that other programs and people write.
func TestFilesOfOtherProgramsAreImported(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"01a_hidden_first_sheet.xlsx":               {"Do you open on Sundays?|From ten to six."},
		"01b_hidden_first_sheet_with_old_faqs.xlsx": {"Do you open on Sundays?|From ten to six.", "old!1: This worksheet has the"},
		"06a_formula_without_cached_value.xlsx":     {"plain|text", "link without value|our page (https://example.com/x)", "Sheet!B3: The cell holds a"},
		"16b_white_bitmap.xlsx":                     {"Where?|Here."},
		"18d_header.csv":                            {"Where?|Here."},
		"18f_header.csv":                            {"Where?|Here."},
		"20b_gb18030.csv":                           {"退票要多久？|三天。價格￥12"},
		"20e_utf16le_tab_bom.txt":                   {"退票要多久？|三天。"},
		"21a_sep_semicolon.csv":                     {"Where?|Here."},
		"21b_bom_sep_comma.csv":                     {"Where?|Here."},
		"23a_inch.csv":                              {`How large is it?|27" wide`, "Where?|Here."},
		"26c_ragged.csv":                            {"Where?|Here.", "!D3: The row has a", "!D4: The row has a"},
		"31_hyperlink.xlsx":                         {"Where to read more?|our page (https://example.com/more)"},
		"40_sheetjs.xlsx":                           {"退票要多久？|三天。\n請見說明。|票|退票", "幾點開門？|2026-03-14", "價格？|1234.5"},
		"41_exceljs.xlsx":                           {"退票要多久？|三天。請見說明。|票|退票", "幾點開門？|我們的網站 (https://example.com/x)", "價格？|價格？x"},
		"42_exceljs_stream.xlsx":                    {"退票要多久？|三天。\n請見說明。|票|退票", "幾點開門？|2026-03-14", "價格？|1234.5"},
	} {
		checkTable(t, name, readTestFile(t, name), want...)
	}
	if table, err := faq.ReadTable(readTestFile(t, "05_dates_and_numbers.xlsx")); err != nil || len(table.Errors) != 1 || table.Rows[1].Answer != "2026-03-14" {
		t.Errorf("dates and numbers: got %+v, error %v", table, err)
	}
	checkRefusal(t, "HTML", readTestFile(t, "25a_html_as.xls"), "HTML")
	checkRefusal(t, "JSON", readTestFile(t, "25c_json.json"), "JSON")
}

func readTestFile(t *testing.T, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", "import", name))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// A row that is not in its columns is reported, not stored with parts missing.
func TestImperfectTextFilesAreRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, want string }{
		"vertical bars":             {"question|answer\nA?|b, c; d", "A?|b, c; d"},
		"old line breaks":           {"question,answer\rA?,b\rC?,d", "A?|b\nC?|d"},
		"separator line":            {"sep=|\nquestion|answer\nA?|b", "A?|b"},
		"separator in quotes":       {"question;answer\n\"A;B?\";\"c;\"\"d\"\"\"\n", `A;B?|c;"d"`},
		"space before a quote":      {"question, answer\n\"A?\", \"b, c\"\n", "A?|b, c"},
		"quotation mark in a text":  {"question,answer\nA?,5' 10\" \"tall\"\n", `A?|5' 10" "tall"`},
		"empty cells at the end":    {"question,answer,,\nA?,b,,,,\n", "A?|b"},
		"title rows":                {"Our FAQs\n\nquestion,answer\nA?,b\n", "A?|b"},
		"rows above the header":     {"X?,y\nquestion,answer\nA?,b\n", "A?|b\n!1: The row is above"},
		"a table without answers":   {"question,answer\nA?\n", "!2: The row has a"},
		"lost characters":           {"question,answer\nA?,b\uFFFD\nC?,d\n", "C?|d\n!B2: The cell has characters"},
		"more cells than columns":   {"question,answer\nA?,b,c\nC?,d\n", "C?|d\n!C2: The row has a"},
		"separator of a quoted row": {"question,answer\n\"A, b?\",\"c\nd\"\nE?,f,g\n", "A, b?|c\nd\n!C3: The row has a"},
	} {
		checkTable(t, name, []byte(c.file), c.want)
	}
	checkRefusal(t, "open quotation mark", []byte("question,answer\nA?,b\nC?,\"d\nE?,f\n"), "line 3")
	checkRefusal(t, "text after a quotation mark", []byte("question,answer\nA?,\"b\"c\n"), "Line 2")
}

func TestEncodingsAreRecognizedAndNamed(t *testing.T) {
	t.Parallel()
	const chinese = "問題,答案\n退票要多久？,三個工作天。\n"
	const simplified = "question,answer\n退票需要多长时间？,通常需要三个工作日，请耐心等待。\n"
	const traditional = "question,answer\n退票需要多久時間？,通常需要三個工作天，請耐心等候。\n"
	for _, c := range []struct {
		text, name string
		encoding   encoding.Encoding
	}{
		{chinese, "UTF-8", encoding.Nop},
		{"\uFEFF" + chinese, "UTF-8", encoding.Nop},
		{chinese, "UTF-16LE", unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)},
		{chinese, "UTF-16BE", unicode.UTF16(unicode.BigEndian, unicode.UseBOM)},
		{chinese, "GB18030", simplifiedchinese.GB18030},
		{chinese, "Big5", traditionalchinese.Big5},
		{simplified, "GB18030", simplifiedchinese.GBK},
		{traditional, "Big5", traditionalchinese.Big5},
	} {
		file, err := c.encoding.NewEncoder().Bytes([]byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		table, err := faq.ReadTable(file)
		if err != nil || table.Encoding != c.name {
			t.Errorf("%s: read as %q, error %v", c.name, table.Encoding, err)
			continue
		}
		_, row, _ := strings.Cut(strings.TrimSpace(c.text), "\n")
		if want := strings.Replace(row, ",", "|", 1); show(table) != want {
			t.Errorf("%s: got %q, want %q", c.name, show(table), want)
		}
	}
}

func TestHeadersVary(t *testing.T) {
	t.Parallel()
	for _, header := range []string{
		"QUESTION,Answers", " Question* ,Answer:", "问题,答案", "問題：,答案（必填）", "Q,A", "ｑｕｅｓｔｉｏｎ,ａｎｓｗｅｒ", "\u200bquestion\u00a0,\u2060answer\ufe0f", `"Question (required)",Answer`,
	} {
		checkTable(t, header, []byte(header+"\nA?,b\n"), "A?|b")
	}
	checkRefusal(t, "same meaning", []byte("question,answer,答案\nA?,b,c\n"), "B and C", "answer")
	checkRefusal(t, "other names", []byte("question,reply\nq,a\n"), `"question"`, `"reply"`, "問題")
	table, err := faq.ReadTable([]byte("id,question,answer,,Author\n1,A?,b,x,me\n"))
	if err != nil || !slices.Equal(table.IgnoredColumns, []string{"id", "Author", "D"}) {
		t.Errorf("got %+v, error %v", table, err)
	}
}

func TestOtherFormatsAreNamed(t *testing.T) {
	t.Parallel()
	utf16 := func(s string) string { return strings.Join(strings.Split(s, ""), "\x00") + "\x00\x00\x00" }
	for word, file := range map[string]string{
		".xls":      "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1" + utf16("Workbook"),
		"password":  "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1" + utf16("EncryptedPackage"),
		".doc":      "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1" + utf16("WordDocument"),
		"XML":       `<?xml version="1.0"?><a>"</a>`,
		"2003":      `<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>`,
		"HTML":      "\n<!DOCTYPE html><table>",
		"JSON":      `{"question": "a", "answer": "b"}`,
		"PDF":       "%PDF-1.7\n\xff",
		"gzip":      "\x1f\x8b\x08",
		"binary":    string(zipOf(t, map[string]string{"xl/workbook.bin": ""})),
		".ods":      string(zipOf(t, map[string]string{"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": ""})),
		"Numbers":   string(zipOf(t, map[string]string{"Index/Document.iwa": ""})),
		".docx":     string(zipOf(t, map[string]string{"word/document.xml": ""})),
		"ZIP":       string(zipOf(t, map[string]string{"faqs.csv": "question,answer"})),
		"rich text": "",
	} {
		if word == "rich text" {
			word, file = "RTF", `{\rtf1 }`
		}
		checkRefusal(t, word, []byte(file), word)
	}
}

// edit returns a workbook of two FAQs after changes to it.
func edit(t *testing.T, change func(book *excelize.File) error) []byte {
	t.Helper()
	book := excelize.NewFile()
	defer book.Close()
	for i, row := range [][]any{{"question", "answer", "labels"}, {"A?", "a", "x"}, {"B?", "b", "y"}, {"C?", "c", "z"}} {
		if err := book.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &row); err != nil {
			t.Fatal(err)
		}
	}
	if err := change(book); err != nil {
		t.Fatal(err)
	}
	return save(t, book)
}

// Everything in a worksheet that changes what a cell means is respected or reported.
func TestWorksheetsAreReadAsShown(t *testing.T) {
	t.Parallel()
	const a, b, c = "A?|a|x", "B?|b|y", "C?|c|z"
	struck := &excelize.Style{Font: &excelize.Font{Strike: true}}
	for name, test := range map[string]struct {
		change func(*excelize.File) error
		want   []string
	}{
		"hidden row": {func(book *excelize.File) error { return book.SetRowVisible("Sheet1", 3, false) }, []string{a, c, "Sheet1!3: The row is hidden."}},
		"merged answer": {func(book *excelize.File) error {
			return book.MergeCell("Sheet1", "B2", "B3")
		}, []string{a, "B?|a|y", c}},
		"merged question": {func(book *excelize.File) error {
			return book.MergeCell("Sheet1", "A2", "A3")
		}, []string{c, "Sheet1!A2: The question is merged", "Sheet1!A3: The question is merged"}},
		"merged heading": {func(book *excelize.File) error {
			return book.MergeCell("Sheet1", "A3", "C3")
		}, []string{a, c, "Sheet1!3: The row has a"}},
		"long number": {func(book *excelize.File) error {
			return book.SetCellValue("Sheet1", "B3", 1234567890123450000)
		}, []string{a, c, "Sheet1!B3: The number has more"}},
		"struck answer": {func(book *excelize.File) error {
			style, err := book.NewStyle(struck)
			if err != nil {
				return err
			}
			return book.SetCellStyle("Sheet1", "B3", "B3", style)
		}, []string{a, c, "Sheet1!B3: The cell has text"}},
		"struck part": {func(book *excelize.File) error {
			return book.SetCellRichText("Sheet1", "B3", []excelize.RichTextRun{{Text: "not ", Font: struck.Font}, {Text: "b"}})
		}, []string{a, c, "Sheet1!B3: The cell has text"}},
		"superscript": {func(book *excelize.File) error {
			return book.SetCellRichText("Sheet1", "B3", []excelize.RichTextRun{{Text: "10"}, {Text: "3", Font: &excelize.Font{VertAlign: "superscript"}}})
		}, []string{a, "B?|10³|y", c}},
		"mail link": {func(book *excelize.File) error {
			return book.SetCellHyperLink("Sheet1", "B3", "mailto:b@example.com", "External")
		}, []string{a, "B?|b (b@example.com)|y", c}},
		"link within the file": {func(book *excelize.File) error {
			return book.SetCellHyperLink("Sheet1", "B3", "Sheet1!A1", "Location")
		}, []string{a, b, c, "Sheet1!B3: The cell links to"}},
		"another sheet": {func(book *excelize.File) error {
			if _, err := book.NewSheet("More"); err != nil {
				return err
			}
			return book.SetSheetRow("More", "A1", &[]any{"question", "answer"})
		}, []string{a, b, c, "More!1: This worksheet has the"}},
		"hidden other column": {func(book *excelize.File) error { return book.SetColVisible("Sheet1", "D", false) }, []string{a, b, c}},
		"cell beside the table": {func(book *excelize.File) error {
			return book.SetCellValue("Sheet1", "E3", "remark")
		}, []string{a, c, "Sheet1!E3: The row has a"}},
		"a comment": {func(book *excelize.File) error {
			return book.AddComment("Sheet1", excelize.Comment{Cell: "B3", Text: "check"})
		}, []string{a, b, c}},
	} {
		checkTable(t, name, edit(t, test.change), test.want...)
	}
	checkRefusal(t, "hidden column", edit(t, func(book *excelize.File) error { return book.SetColVisible("Sheet1", "B", false) }), "Sheet1", "column B", "hidden")
	checkRefusal(t, "only a hidden sheet", edit(t, func(book *excelize.File) error {
		if _, err := book.NewSheet("Empty"); err != nil {
			return err
		}
		book.SetActiveSheet(1)
		return book.SetSheetVisible("Sheet1", false)
	}), "hidden worksheet", "Sheet1")
}

// Cells of each type and kind of formula, as programs write them.
func TestCellsOfEveryType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ cell, want string }{
		{`<c r="B2" t="b"><v>1</v></c>`, "q|TRUE"},
		{`<c r="B2" t="e"><v>#N/A</v></c>`, "a!B2: The cell holds the"},
		{`<c r="B2" t="d"><v>2026-03-14T00:00:00</v></c>`, "q|2026-03-14"},
		{`<c r="B2" t="d"><v>2026-03-14T09:30:00</v></c>`, "q|2026-03-14 09:30"},
		{`<c r="B2" t="str"><v>a_x000D_&#10;b</v></c>`, "q|a\nb"},
		{`<c r="B2" t="inlineStr"><is><t>a_x005F_x0041_</t></is></c>`, "q|a_x0041_"},
		{`<c r="B2" t="inlineStr"><is><t>漢字</t><rPh sb="0" eb="2"><t>かんじ</t></rPh><phoneticPr fontId="1"/></is></c>`, "q|漢字"},
		{`<c r="B2" t="str"><f>A2&amp;""</f><v></v></c>`, "a!2: The row has a"},
		{`<c r="B2"><f>1+1</f><v>2</v></c>`, "q|2"},
		{`<c r="B2"><f>1+1</f></c>`, "a!B2: The cell holds a"},
		{`<c r="B2"><f t="array" ref="B2">SUM(1)</f><v/></c>`, "a!B2: The cell holds a"},
		{`<c r="B2"><f t="shared" si="0"/><v>3</v></c>`, "q|3"},
		{`<c r="B2" t="str"><f>HYPERLINK("https://example.com/x","here")</f><v>here</v></c>`, "q|here (https://example.com/x)"},
		{`<c r="B2" t="str"><f>HYPERLINK("mailto:a@example.com",A9)</f><v>us</v></c>`, "q|us (a@example.com)"},
		{`<c r="B2" t="str"><f>HYPERLINK("https://example.com/"&amp;A2,"here")</f><v>here</v></c>`, "a!B2: The cell holds a"},
		{`<c r="B2"><v>0.30000000000000004</v></c>`, "q|0.3"},
		{`<c r="B2" t="s"><v>7</v></c>`, "a!B2: The cell refers to"},
		{`<c r="C2" t="str"><v>beside</v></c>`, "a!C2: The row has a"},
	} {
		file := rawWorkbook(t, "", headerRow+`<row r="2"><c r="A2" t="str"><v>q</v></c>`+c.cell+`</row>`)
		checkTable(t, c.cell, file, c.want)
	}
}

// Rows without content cost little, and media are not measured.
func TestEmptyRowsAreIgnored(t *testing.T) {
	t.Parallel()
	checkTable(t, "empty rows", rawWorkbook(t, "", headerRow+strings.Repeat("<row/>", 200_000)+`<row><c t="str"><v>q</v></c><c t="str"><v>a</v></c></row>`), "q|a")
}
