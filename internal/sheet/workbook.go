package sheet

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// workbook is the data that the worksheets of a file share.
type workbook struct {
	parts   *archive
	is1904  bool
	strings []text
	styles  []style
}

// text is a cell's text. Some of it may be struck through.
type text struct {
	string
	isStruck bool
}

type style struct {
	format   *format
	isStruck bool
}

func openWorkbook(file []byte) (*File, error) {
	parts, err := openArchive(file)
	if err != nil {
		return nil, err
	}
	if format := parts.otherFormat(); format != "" {
		return nil, RefuseFormat(format)
	}
	roots, err := parts.relations("")
	if err != nil {
		return nil, err
	}
	main := "xl/workbook.xml"
	for _, r := range roots {
		if r.kind() == "officeDocument" {
			main = r.Target
		}
	}
	var list struct {
		Properties struct {
			Date1904 string `xml:"date1904,attr"`
		} `xml:"workbookPr"`
		Sheets []struct {
			Name  string `xml:"name,attr"`
			State string `xml:"state,attr"`
			ID    string `xml:"id,attr"`
		} `xml:"sheets>sheet"`
	}
	if err := parts.decode(main, &list); err != nil {
		return nil, err
	}
	related, err := parts.relations(main)
	if err != nil {
		return nil, err
	}
	book := &workbook{parts: parts, is1904: isTrue(list.Properties.Date1904)}
	worksheets, texts, styles := map[string]string{}, "xl/sharedStrings.xml", "xl/styles.xml"
	for _, r := range related {
		switch r.kind() {
		case "worksheet":
			worksheets[r.ID] = r.Target
		case "sharedStrings":
			texts = r.Target
		case "styles":
			styles = r.Target
		}
	}
	if err := book.readStrings(texts); err != nil {
		return nil, err
	}
	if err := book.readStyles(styles); err != nil {
		return nil, err
	}
	opened := &File{}
	for _, s := range list.Sheets {
		part, ok := worksheets[s.ID]
		if !ok {
			continue // a chart or a dialog
		}
		opened.Tables = append(opened.Tables, Table{
			Name: s.Name, Hidden: s.State != "" && s.State != "visible",
			Rows: func(visit func(Row) error) (*Layout, error) { return book.readSheet(part, visit) },
		})
	}
	if len(opened.Tables) == 0 {
		return nil, Refuse("The file has no worksheet.")
	}
	return opened, nil
}

// isTrue reports whether an attribute of type boolean is true.
func isTrue(value string) bool { return value == "1" || value == "true" || value == "on" }

func (b *workbook) readStyles(part string) error {
	var list struct {
		Formats []struct {
			ID   int    `xml:"numFmtId,attr"`
			Code string `xml:"formatCode,attr"`
		} `xml:"numFmts>numFmt"`
		Fonts []struct {
			Strike *flag `xml:"strike"`
		} `xml:"fonts>font"`
		Cells []struct {
			Format int `xml:"numFmtId,attr"`
			Font   int `xml:"fontId,attr"`
		} `xml:"cellXfs>xf"`
	}
	if err := b.parts.decode(part, &list); err != nil {
		return err
	}
	codes, formats := map[int]string{}, map[int]*format{}
	for _, f := range list.Formats {
		codes[f.ID] = f.Code
	}
	for _, cell := range list.Cells {
		if formats[cell.Format] == nil {
			code, isCustom := codes[cell.Format]
			formats[cell.Format] = newFormat(cell.Format, code, isCustom)
		}
		s := style{format: formats[cell.Format]}
		if 0 <= cell.Font && cell.Font < len(list.Fonts) {
			s.isStruck = list.Fonts[cell.Font].Strike.isSet()
		}
		b.styles = append(b.styles, s)
	}
	return nil
}

// flag is an element such as <strike/>, which is set unless its value is false.
type flag struct {
	Value *string `xml:"val,attr"`
}

func (f *flag) isSet() bool { return f != nil && (f.Value == nil || isTrue(*f.Value)) }

func (b *workbook) readStrings(part string) error {
	decoder, err := b.parts.open(part, &b.parts.others)
	if err != nil || decoder == nil {
		return err
	}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unreadable(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "si" {
			shared, err := readText(decoder)
			if err != nil {
				return err
			}
			b.strings = append(b.strings, shared)
		}
	}
}

// readText reads a text in runs up to the end of its element, without its phonetic reading.
func readText(decoder *xml.Decoder) (text, error) {
	var (
		result         text
		out            strings.Builder
		depth          = 1
		isText         bool
		raised, struck bool
		lowered        bool
	)
	for depth > 0 {
		token, err := decoder.Token()
		if err != nil {
			return text{}, unreadable(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			switch token.Name.Local {
			case "rPh", "phoneticPr", "extLst":
				if err := decoder.Skip(); err != nil {
					return text{}, unreadable(err)
				}
				continue
			case "r":
				raised, lowered, struck = false, false, false
			case "strike":
				value, has := attribute(token, "val")
				struck = !has || isTrue(value)
			case "vertAlign":
				value, _ := attribute(token, "val")
				raised, lowered = value == "superscript", value == "subscript"
			case "t":
				isText = true
			}
			depth++
		case xml.EndElement:
			isText = isText && token.Name.Local != "t"
			depth--
		case xml.CharData:
			if !isText {
				continue
			}
			run := string(token)
			result.isStruck = result.isStruck || struck && strings.TrimSpace(run) != ""
			switch {
			case raised:
				run = superscripts.Replace(run)
			case lowered:
				run = subscripts.Replace(run)
			}
			if out.WriteString(run); out.Len() > maxCellText {
				return text{}, tooComplex()
			}
		}
	}
	result.string = unescape(out.String())
	return result, nil
}

// Superscript and subscript digits change the value of a number: 10² is not 102.
var (
	superscripts = strings.NewReplacer("0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹", "+", "⁺", "-", "⁻")
	subscripts   = strings.NewReplacer("0", "₀", "1", "₁", "2", "₂", "3", "₃", "4", "₄", "5", "₅", "6", "₆", "7", "₇", "8", "₈", "9", "₉", "+", "₊", "-", "₋")
)

var escapes = regexp.MustCompile(`(?:_x[0-9A-Fa-f]{4}_)+`)

// unescape decodes characters that XML cannot hold, such as _x000D_.
func unescape(s string) string {
	if !strings.Contains(s, "_x") {
		return s
	}
	return escapes.ReplaceAllStringFunc(s, func(run string) string {
		var units []uint16
		for ; run != ""; run = run[len("_xHHHH_"):] {
			unit, _ := strconv.ParseUint(run[2:6], 16, 16)
			units = append(units, uint16(unit))
		}
		return string(utf16.Decode(units))
	})
}

func attribute(element xml.StartElement, name string) (string, bool) {
	for _, a := range element.Attr {
		if a.Name.Local == name {
			return a.Value, true
		}
	}
	return "", false
}

var cellName = regexp.MustCompile(`^\$?([A-Za-z]{1,3})\$?([0-9]{1,7})$`)

// parsePosition parses a name such as B12.
func parsePosition(name string) (position, error) {
	match := cellName.FindStringSubmatch(name)
	if match == nil {
		return position{}, unreadable(fmt.Errorf("cell %q", name))
	}
	column := 0
	for _, letter := range strings.ToUpper(match[1]) {
		column = column*26 + int(letter-'A') + 1
	}
	row, _ := strconv.Atoi(match[2])
	if column > maxColumns || row == 0 || row > maxRowNumber {
		return position{}, unreadable(fmt.Errorf("cell %q", name))
	}
	return position{row, column - 1}, nil
}

// parseArea parses a range such as B2:C4, or a single cell.
func parseArea(name string) (area, error) {
	first, last, isRange := strings.Cut(name, ":")
	from, err := parsePosition(first)
	if err != nil || !isRange {
		return area{from, from}, err
	}
	to, err := parsePosition(last)
	return area{from, to}, err
}
