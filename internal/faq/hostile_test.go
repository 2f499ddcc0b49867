package faq_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"

	"parley/internal/apperr"
	"parley/internal/faq"
)

func zipOf(t testing.TB, parts map[string]string) []byte {
	t.Helper()
	var file bytes.Buffer
	w := zip.NewWriter(&file)
	for name, content := range parts {
		part, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(part, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// bomb is a small file that unpacks to more than may be, and declares to hold that many bytes.
func bomb(t testing.TB, declared uint64) []byte {
	t.Helper()
	var packed bytes.Buffer
	deflate, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range bombSize >> 20 {
		deflate.Write(zeros)
	}
	deflate.Close()
	var file bytes.Buffer
	w := zip.NewWriter(&file)
	part, err := w.CreateRaw(&zip.FileHeader{
		Name: "xl/workbook.xml", Method: zip.Deflate,
		CompressedSize64: uint64(packed.Len()), UncompressedSize64: declared,
	})
	if err != nil {
		t.Fatal(err)
	}
	part.Write(packed.Bytes())
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

const bombSize = 129 << 20

// farRow is a workbook with a row that no worksheet has room for.
func farRow(t testing.TB) []byte {
	t.Helper()
	return book(t, "", `<row r="2000000000"><c r="A2000000000" t="inlineStr"><is><t>question</t></is></c></row>`)
}

// book is a workbook of one sheet, with shared strings.
func book(t testing.TB, sharedStrings, rows string) []byte {
	t.Helper()
	const xml = `<?xml version="1.0" encoding="UTF-8"?>`
	const main = `"http://schemas.openxmlformats.org/spreadsheetml/2006/main"`
	const relations = `"http://schemas.openxmlformats.org/package/2006/relationships"`
	const office = `http://schemas.openxmlformats.org/officeDocument/2006/relationships`
	return zipOf(t, map[string]string{
		"_rels/.rels": xml + `<Relationships xmlns=` + relations + `><Relationship Id="rId1" Type="` + office +
			`/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
		"xl/workbook.xml": xml + `<workbook xmlns=` + main + ` xmlns:r="` + office +
			`"><sheets><sheet name="a" sheetId="1" r:id="rId1"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": xml + `<Relationships xmlns=` + relations + `><Relationship Id="rId1" Type="` + office +
			`/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`,
		"xl/worksheets/sheet1.xml": xml + `<worksheet xmlns=` + main + `><sheetData>` + rows + `</sheetData></worksheet>`,
		"xl/sharedStrings.xml":     xml + sharedStrings,
	})
}

func FuzzReadTable(f *testing.F) {
	book := excelize.NewFile()
	book.SetSheetRow("Sheet1", "A1", &[]any{"question", "answer"})
	book.SetSheetRow("Sheet1", "A2", &[]any{"q", "a"})
	var file bytes.Buffer
	if err := book.Write(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add(zipOf(f, map[string]string{"xl/workbook.xml": "<workbook><sheets><sheet/></sheets></workbook>"}))
	f.Add([]byte("question,answer\nq,a\n"))
	f.Add([]byte("\xEF\xBB\xBF問題;答案;標籤\n\n\"q\n\";a;b\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		rows, err := faq.ReadFile(file)
		if err != nil && apperr.KindOf(err) == apperr.Internal {
			t.Errorf("the file's fault became ours: %v", err)
		}
		if len(rows) > 20_000 {
			t.Errorf("got %d rows", len(rows))
		}
	})
}

func FuzzTextOf(f *testing.F) {
	for _, seed := range []string{
		"<p>a<br>b</p>", "a < b", "<a href='x'>y", "&lt;p&gt;", "<script>", "<pre> a\n b", "<b", "<!-- a", "\x00<p>\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		text := faq.HTMLToText(source)
		if strings.TrimSpace(text) != text || strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			t.Errorf("%q became %q", source, text)
		}
	})
}

func FuzzTerms(f *testing.F) {
	for _, seed := range []string{"請問如何退票？", "Refunds are processed", "T-EX 3G", "か゚ー", "한국어", "a\u0301\u200d", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		seen := map[string]bool{}
		for _, term := range faq.Terms(text) {
			if term == "" || seen[term] || utf8.RuneCountInString(term) > 64 || !utf8.ValidString(term) {
				t.Errorf("%q has the term %q", text, term)
			}
			seen[term] = true
		}
		if len(seen) > 400 {
			t.Errorf("%d terms", len(seen))
		}
		faq.QuestionKey(text)
	})
}
