package faq_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"testing"

	"parley/internal/apperr"
)

// zipOf returns a ZIP archive with these parts.
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

const bombSize = 129 << 20

// zipBomb returns a small archive with bombSize uncompressed bytes, which declares another size.
func zipBomb(t testing.TB, declared uint64) []byte {
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

const (
	mainNamespace         = `"http://schemas.openxmlformats.org/spreadsheetml/2006/main"`
	relationsNamespace    = `"http://schemas.openxmlformats.org/package/2006/relationships"`
	officeRelationsPrefix = `http://schemas.openxmlformats.org/officeDocument/2006/relationships`
)

// rawWorkbook returns a workbook of one sheet with this XML for the shared strings and the rows.
func rawWorkbook(t testing.TB, sharedStrings, rows string) []byte {
	t.Helper()
	const xml = `<?xml version="1.0" encoding="UTF-8"?>`
	relation := func(kind, target string) string {
		return xml + `<Relationships xmlns=` + relationsNamespace + `><Relationship Id="rId1" Type="` + officeRelationsPrefix +
			kind + `" Target="` + target + `"/></Relationships>`
	}
	return zipOf(t, map[string]string{
		"_rels/.rels": relation("/officeDocument", "xl/workbook.xml"),
		"xl/workbook.xml": xml + `<workbook xmlns=` + mainNamespace + ` xmlns:r="` + officeRelationsPrefix +
			`"><sheets><sheet name="a" sheetId="1" r:id="rId1"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": relation("/worksheet", "worksheets/sheet1.xml"),
		"xl/worksheets/sheet1.xml":   xml + `<worksheet xmlns=` + mainNamespace + `><sheetData>` + rows + `</sheetData></worksheet>`,
		"xl/sharedStrings.xml":       xml + sharedStrings,
	})
}

// sharedText returns the XML of shared strings with one string.
func sharedText(content string) string {
	return `<sst xmlns=` + mainNamespace + `><si>` + content + `</si></sst>`
}

const headerRow = `<row r="1"><c r="A1" t="str"><v>question</v></c><c r="B1" t="str"><v>answer</v></c></row>`

// invalidFile is a file that must be rejected with an error of this kind.
type invalidFile struct {
	file []byte
	kind apperr.Kind
}

func invalidCSVFiles() map[string]invalidFile {
	text := func(file string, kind apperr.Kind) invalidFile { return invalidFile{[]byte(file), kind} }
	return map[string]invalidFile{
		"empty":                 text("", apperr.InvalidRequest),
		"blank":                 text("\n\n,,\n", apperr.InvalidRequest),
		"wrong columns":         text("question,reply\nq,a\n", apperr.InvalidRequest),
		"no header":             text("Where?,Here.\n", apperr.InvalidRequest),
		"Western text":          text("question,answer\nna\xefve?,caf\xe9\n", apperr.InvalidRequest),
		"Korean text":           text("question,answer\n\xc8\xaf\xba\xd2,\xc7\xd8\xc1\xd6\xbc\xbc\xbf\xe4\n", apperr.InvalidRequest),
		"Japanese text":         text("question,answer\n\xa4\xc9\xa4\xb3,\xa4\xb3\xa4\xb3\xa4\xc7\xa4\xb9\n", apperr.InvalidRequest),
		"Shift_JIS":             text("question,answer\n\x82\xc7\x82\xb1,\x82\xb1\x82\xb1\x82\xc5\x82\xb7\x81B\n", apperr.InvalidRequest),
		"UTF-16 without a mark": text("q\x00,\x00a\x00", apperr.InvalidRequest),
		"stray quote":           text("question,answer\nq,\"a\nq2,a2\n", apperr.InvalidRequest),
		"too many rows":         text("question,answer\n"+strings.Repeat("q,a\n", 20_001), apperr.TooLarge),
		"many commas":           text("question,answer\n"+strings.Repeat(",", 5_000_000), apperr.TooLarge),
	}
}

func invalidWorkbooks(t *testing.T) map[string]invalidFile {
	t.Helper()
	valid := workbook(t, []any{"question", "answer"}, []any{"q", "a"})
	return map[string]invalidFile{
		"old Excel":           {[]byte("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"), apperr.InvalidRequest},
		"not a ZIP archive":   {[]byte("PK\x03\x04 nonsense"), apperr.InvalidRequest},
		"truncated":           {valid[:len(valid)/2], apperr.InvalidRequest},
		"ZIP bomb":            {zipBomb(t, bombSize), apperr.TooLarge},
		"lying ZIP bomb":      {zipBomb(t, 1000), apperr.InvalidRequest},
		"overflowing size":    {zipBomb(t, 1<<63), apperr.TooLarge},
		"not a workbook":      {zipOf(t, map[string]string{"a.txt": "a"}), apperr.InvalidRequest},
		"malformed XML":       {zipOf(t, map[string]string{"xl/workbook.xml": "<", "[Content_Types].xml": "<"}), apperr.InvalidRequest},
		"many sheets":         {zipOf(t, map[string]string{"xl/workbook.xml": "<workbook><sheets>" + strings.Repeat("<sheet/>", 2_000_000) + "</sheets></workbook>"}), apperr.TooLarge},
		"impossible row":      {rawWorkbook(t, "", `<row r="2000000000"><c r="A2000000000" t="inlineStr"><is><t>question</t></is></c></row>`), apperr.InvalidRequest},
		"long attribute list": {rawWorkbook(t, "", `<row r="1" `+strings.Repeat(`a="" `, 1_000_000)+"/>"), apperr.TooLarge},
		"empty cells":         {rawWorkbook(t, "", headerRow+strings.Repeat("<row>"+strings.Repeat("<c/>", 1000)+"</row>", 3900)), apperr.TooLarge},
		"many strings": {rawWorkbook(t, `<sst xmlns=`+mainNamespace+`>`+strings.Repeat("<si/>", 3_000_000)+"</sst>",
			`<row r="1"><c t="s"><v>0</v></c></row>`), apperr.TooLarge},
		"entities": {rawWorkbook(t, `<!DOCTYPE sst [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>`+sharedText(`<t>&b;</t>`),
			`<row r="1"><c r="A1" t="s"><v>0</v></c></row>`), apperr.InvalidRequest},
		"external entity": {rawWorkbook(t, `<!DOCTYPE sst [<!ENTITY a SYSTEM "file:///etc/passwd">]>`+sharedText(`<t>&a;</t>`),
			`<row r="1"><c r="A1" t="s"><v>0</v></c></row>`), apperr.InvalidRequest},
	}
}

// workbooksWithLargeTexts are workbooks whose texts are long, or are referred to many times.
func workbooksWithLargeTexts(t *testing.T) map[string]invalidFile {
	t.Helper()
	const cell = `<c t="s"><v>0</v></c>`
	shared := sharedText(`<t>` + strings.Repeat("a", 30_000) + `</t>`)
	return map[string]invalidFile{
		"long string": {rawWorkbook(t, sharedText(`<t>`+strings.Repeat("a", 200_000)+`</t>`), headerRow), apperr.TooLarge},
		"long rich string": {
			rawWorkbook(t, sharedText(strings.Repeat("<r><t>"+strings.Repeat("a", 20_000)+"</t></r><c/>", 10)), headerRow),
			apperr.TooLarge,
		},
		"string in many cells":     {rawWorkbook(t, shared, headerRow+"<row>"+strings.Repeat(cell, 5000)+"</row>"), apperr.TooLarge},
		"string in a repeated row": {rawWorkbook(t, shared, headerRow+strings.Repeat(`<row r="1">`+cell+`</row>`, 5000)), apperr.TooLarge},
		"string outside of rows":   {rawWorkbook(t, shared, headerRow+`<row r="2"/>`+strings.Repeat(cell, 5000)), apperr.InvalidRequest},
		"string in many rows":      {rawWorkbook(t, shared, headerRow+strings.Repeat(`<row>`+cell+`</row>`, 5000)), apperr.TooLarge},
	}
}
