package sheet

import (
	"bytes"
	"encoding/json"
	"strings"

	"parley/internal/apperr"
)

// RefuseFormat returns the error for a file of a format that is not read.
func RefuseFormat(format string) *apperr.Error {
	return Refuse("The file is " + format + ", not .xlsx or .csv: open it in a spreadsheet program and save it as .xlsx.")
}

// binaryFormat names the format of a file that is not text, or returns "".
func binaryFormat(file []byte) string {
	for _, known := range []struct{ start, name string }{
		{"\x09\x08", "an old Excel workbook (.xls)"},
		{"\x09\x04", "an old Excel workbook (.xls)"},
		{"\x09\x02", "an old Excel workbook (.xls)"},
		{"%PDF-", "a PDF document"},
		{`{\rtf`, "an RTF document"},
		{"\x1F\x8B", "a gzip archive"},
		{"Rar!", "a RAR archive"},
		{"7z\xBC\xAF", "a 7z archive"},
		{"PK\x05\x06", "an empty ZIP archive"},
		{"\x89PNG", "a PNG picture"},
		{"\xFF\xD8\xFF", "a JPEG picture"},
		{"GIF8", "a GIF picture"},
		{"SQLite format 3", "an SQLite database"},
		{"PAR1", "a Parquet file"},
	} {
		if bytes.HasPrefix(file, []byte(known.start)) {
			return known.name
		}
	}
	if !bytes.HasPrefix(file, []byte("\xD0\xCF\x11\xE0")) {
		return ""
	}
	contains := func(stream string) bool { // names are in UTF-16
		return bytes.Contains(file, []byte(strings.Join(strings.Split(stream, ""), "\x00")+"\x00\x00"))
	}
	switch {
	case contains("EncryptedPackage"):
		return "a workbook that is protected by a password"
	case contains("WordDocument"):
		return "an old Word document (.doc)"
	case contains("PowerPoint Document"):
		return "an old PowerPoint presentation (.ppt)"
	}
	return "an old Excel workbook (.xls) or another file of old Office programs"
}

// otherFormat names the format of an archive that is not an .xlsx workbook, or returns "".
func (a *archive) otherFormat() string {
	for _, known := range []struct{ part, name string }{
		{"xl/workbook.bin", "a binary Excel workbook (.xlsb)"},
		{"word/document.xml", "a Word document (.docx)"},
		{"ppt/presentation.xml", "a PowerPoint presentation (.pptx)"},
		{"index/document.iwa", "a Numbers, Pages or Keynote document"},
		{"index.zip", "a Numbers, Pages or Keynote document"},
		{"index.apxl", "a Keynote document"},
		{"meta-inf/container.xml", "an EPUB book"},
	} {
		if a.parts[known.part] != nil {
			return known.name
		}
	}
	switch {
	case a.parts["mimetype"] != nil && a.parts["content.xml"] != nil:
		return "an OpenDocument file (such as .ods)"
	case a.parts["xl/workbook.xml"] == nil && a.parts["_rels/.rels"] == nil:
		return "a ZIP archive"
	}
	return ""
}

// DescribeText names the format of a text that is not a table, or returns "".
func DescribeText(file []byte) string {
	start := strings.ToLower(strings.TrimSpace(strings.TrimPrefix(string(file[:min(len(file), 4096)]), "\uFEFF")))
	switch {
	case strings.HasPrefix(start, "<?xml") && strings.Contains(start, "urn:schemas-microsoft-com:office:spreadsheet"):
		return "an XML spreadsheet of Excel 2003"
	case strings.Contains(start, "<html"), strings.Contains(start, "<table"), strings.HasPrefix(start, "<!doctype html"):
		return "an HTML page"
	case strings.HasPrefix(start, "<"):
		return "an XML document"
	case strings.HasPrefix(start, "mime-version:"):
		return "a web archive (MHTML)"
	case strings.HasPrefix(start, "{"), strings.HasPrefix(start, "[{"), strings.HasPrefix(start, "[") && json.Valid(file):
		return "JSON"
	case strings.HasPrefix(start, "id;p"):
		return "a SYLK file"
	}
	return ""
}
