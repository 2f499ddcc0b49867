package xlsx

import (
	"fmt"
	"strconv"
	"strings"
)

// The XML around the values of cells. s= is an index into the cellXfs of styles.
const (
	textCell   = ` t="inlineStr"><is><t xml:space="preserve">`
	headerCell = ` s="1"` + textCell
	quotedCell = ` s="3"` + textCell
	textEnd    = `</t></is></c>`
	valueCell  = `><v>`
	timeCell   = ` s="2"` + valueCell
	valueEnd   = `</v></c>`
)

const (
	xmlHead    = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	mainNS     = `http://schemas.openxmlformats.org/spreadsheetml/2006/main`
	officeRels = `http://schemas.openxmlformats.org/officeDocument/2006/relationships`
	packageNS  = `http://schemas.openxmlformats.org/package/2006/`
	typePrefix = `application/vnd.openxmlformats-officedocument.spreadsheetml.`
)

const packageRels = xmlHead + `<Relationships xmlns="` + packageNS + `relationships">` +
	`<Relationship Id="rId1" Type="` + officeRels + `/officeDocument" Target="xl/workbook.xml"/>` +
	`</Relationships>`

// styles defines four cell formats: default, header, time, and text that looks like a formula.
// ECMA-376 reserves the first two fills, and number format IDs below 164.
const styles = xmlHead + `<styleSheet xmlns="` + mainNS + `">` +
	`<numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd\ hh:mm:ss"/></numFmts>` +
	`<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>` +
	`<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>` +
	`<fills count="2"><fill><patternFill patternType="none"/></fill>` +
	`<fill><patternFill patternType="gray125"/></fill></fills>` +
	`<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>` +
	`<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>` +
	`<cellXfs count="4"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>` +
	`<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>` +
	`<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>` +
	`<xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0" quotePrefix="1"/></cellXfs>` +
	`<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>` +
	`</styleSheet>`

const sheetEnd = `</sheetData><autoFilter ref="A1:%s%d"/></worksheet>`

// appendSheetStart appends everything that precedes a sheet's first row.
func appendSheetStart(buf []byte, columns []Column, selected bool) []byte {
	buf = append(buf, xmlHead+`<worksheet xmlns="`+mainNS+`"><sheetViews><sheetView`...)
	if selected {
		buf = append(buf, ` tabSelected="1"`...)
	}
	buf = append(buf, ` workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>`+
		`<selection pane="bottomLeft"/></sheetView></sheetViews>`...)
	widths := ""
	for i, column := range columns {
		if column.Width > 0 {
			widths += fmt.Sprintf(`<col min="%d" max="%d" width="%g" customWidth="1"/>`, i+1, i+1, column.Width)
		}
	}
	if widths != "" {
		buf = append(buf, "<cols>"+widths+"</cols>"...)
	}
	return append(buf, "<sheetData>"...)
}

func sheetFile(number int) string {
	return "worksheets/sheet" + strconv.Itoa(number) + ".xml"
}

// sheet describes a sheet in the workbook part: its name and the last cell of its used range.
type sheet struct {
	name       string
	lastColumn string
	lastRow    int
}

// workbook returns the workbook part. It repeats the range of each filter as a hidden defined
// name, as Excel does; LibreOffice needs it.
func workbook(sheets []sheet) string {
	var list, ranges strings.Builder
	for i, s := range sheets {
		fmt.Fprintf(&list, `<sheet name="%s" sheetId="%d" r:id="rId%d"/>`, attribute.Replace(s.name), i+1, i+1)
		fmt.Fprintf(&ranges, `<definedName name="_xlnm._FilterDatabase" localSheetId="%d" hidden="1">'%s'!$A$1:$%s$%d</definedName>`,
			i, strings.ReplaceAll(attribute.Replace(s.name), "'", "''"), s.lastColumn, s.lastRow)
	}
	return xmlHead + `<workbook xmlns="` + mainNS + `" xmlns:r="` + officeRels + `">` +
		`<bookViews><workbookView/></bookViews><sheets>` + list.String() + `</sheets>` +
		`<definedNames>` + ranges.String() + `</definedNames></workbook>`
}

var attribute = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// workbookRels returns the part that maps each sheet's relationship ID to its file.
func workbookRels(sheets int) string {
	var list strings.Builder
	for i := range sheets {
		fmt.Fprintf(&list, `<Relationship Id="rId%d" Type="`+officeRels+`/worksheet" Target="%s"/>`, i+1, sheetFile(i+1))
	}
	fmt.Fprintf(&list, `<Relationship Id="rId%d" Type="`+officeRels+`/styles" Target="styles.xml"/>`, sheets+1)
	return xmlHead + `<Relationships xmlns="` + packageNS + `relationships">` + list.String() + `</Relationships>`
}

// contentTypes returns the part with the content type of each file.
func contentTypes(sheets int) string {
	var list strings.Builder
	for i := range sheets {
		fmt.Fprintf(&list, `<Override PartName="/xl/%s" ContentType="`+typePrefix+`worksheet+xml"/>`, sheetFile(i+1))
	}
	return xmlHead + `<Types xmlns="` + packageNS + `content-types">` +
		`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>` +
		`<Default Extension="xml" ContentType="application/xml"/>` +
		`<Override PartName="/xl/workbook.xml" ContentType="` + typePrefix + `sheet.main+xml"/>` +
		`<Override PartName="/xl/styles.xml" ContentType="` + typePrefix + `styles+xml"/>` +
		list.String() + `</Types>`
}

// letters returns the name of a column, counted from 0: A to Z, AA and so on.
func letters(column int) string {
	name := string(rune('A' + column%26))
	if column >= 26 {
		return letters(column/26-1) + name
	}
	return name
}

// validName reports whether Excel accepts name for a sheet: 1 to 31 UTF-16 units, none of
// []:*?/\, no control characters, no apostrophe at either end.
func validName(name string) bool {
	length := 0
	for _, r := range name {
		if r < ' ' || r == '\uFFFD' {
			return false
		}
		length += units(r)
	}
	return 1 <= length && length <= 31 && !strings.ContainsAny(name, `[]:*?/\`) &&
		!strings.HasPrefix(name, "'") && !strings.HasSuffix(name, "'")
}
