package sheet

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"parley/internal/apperr"
)

// worksheet reads a worksheet in one pass.
type worksheet struct {
	book    *workbook
	decoder *xml.Decoder
	links   map[string]string // the targets of hyperlinks by relation
	hidden  []area            // hidden columns
	shared  map[string]bool   // shared formulas that make links
	layout  *Layout
	row     Row
	isInRow bool
	next    position // of a row or cell that does not name its own
	left    int      // bytes of text
}

func (b *workbook) readSheet(part string, visit func(Row) error) (*Layout, error) {
	decoder, err := b.parts.open(part, &b.parts.sheets)
	if err != nil {
		return nil, err
	}
	if decoder == nil {
		return nil, unreadable(fmt.Errorf("part %s is missing", part))
	}
	related, err := b.parts.relations(part)
	if err != nil {
		return nil, err
	}
	w := worksheet{
		book: b, decoder: decoder, links: map[string]string{}, shared: map[string]bool{},
		layout: &Layout{links: map[position]link{}}, next: position{1, 0}, left: maxUncompressed,
	}
	for _, r := range related {
		if r.kind() == "hyperlink" {
			w.links[r.ID] = r.Target
		}
	}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return w.layout, nil
		}
		if err != nil {
			return nil, unreadable(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			err = w.begin(token)
		case xml.EndElement:
			if token.Name.Local == "row" {
				w.isInRow = false
				if len(w.row.Cells) > 0 {
					err = visit(w.row)
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

func (w *worksheet) begin(element xml.StartElement) error {
	switch element.Name.Local {
	case "extLst", "Fallback", "conditionalFormatting", "dataValidations":
		if err := w.decoder.Skip(); err != nil {
			return unreadable(err)
		}
	case "col":
		return w.addColumns(element)
	case "row":
		return w.beginRow(element)
	case "c":
		return w.addCell(element)
	case "mergeCell":
		name, _ := attribute(element, "ref")
		merged, err := parseArea(name)
		w.layout.merged = append(w.layout.merged, merged)
		return errors.Join(err, checkAreas(len(w.layout.merged), maxAreas))
	case "hyperlink":
		return w.addLink(element)
	}
	return nil
}

func checkAreas(n, limit int) error {
	if n > limit {
		return tooComplex()
	}
	return nil
}

// addColumns records hidden columns.
func (w *worksheet) addColumns(element xml.StartElement) error {
	value := func(name string) string { v, _ := attribute(element, name); return v }
	width, err := strconv.ParseFloat(value("width"), 64)
	if !isTrue(value("hidden")) && (err != nil || width > 0) {
		return nil
	}
	first, _ := strconv.Atoi(value("min"))
	last, _ := strconv.Atoi(value("max"))
	w.hidden = append(w.hidden, area{position{0, first - 1}, position{0, last - 1}})
	return checkAreas(len(w.hidden), maxColumns)
}

func (w *worksheet) isHidden(column int) bool {
	for _, a := range w.hidden {
		if a.from.column <= column && column <= a.to.column {
			return true
		}
	}
	return false
}

func (w *worksheet) beginRow(element xml.StartElement) error {
	number := w.next.row
	if name, has := attribute(element, "r"); has {
		var err error
		if number, err = strconv.Atoi(name); err != nil {
			return unreadable(err)
		}
	}
	if number < 1 || number > maxRowNumber {
		return Refuse("The file has more rows than a worksheet can have.")
	}
	hidden, _ := attribute(element, "hidden")
	height, hasHeight := attribute(element, "ht")
	points, err := strconv.ParseFloat(height, 64)
	w.row = Row{Number: number, Hidden: isTrue(hidden) || hasHeight && err == nil && points == 0}
	w.next, w.isInRow = position{number + 1, 0}, true
	return nil
}

func (w *worksheet) addLink(element xml.StartElement) error {
	name, _ := attribute(element, "ref")
	where, err := parseArea(name)
	if err != nil {
		return err
	}
	id, _ := attribute(element, "id")
	place, _ := attribute(element, "location")
	to := link{target: w.links[id], place: place}
	if to.target != "" && place != "" {
		to.target += "#" + place
	}
	if strings.HasPrefix(to.target, "#") {
		to = link{place: to.target}
	}
	if where.from == where.to {
		w.layout.links[where.from] = to
		return checkAreas(len(w.layout.links), maxAreas)
	}
	w.layout.ranges = append(w.layout.ranges, linkedArea{where, to})
	return checkAreas(len(w.layout.ranges), 1000) // they are searched for each cell
}

// addCell adds a cell to the row unless it is empty.
func (w *worksheet) addCell(element xml.StartElement) error {
	if !w.isInRow {
		return unreadable(errors.New("a cell outside of rows"))
	}
	at := position{w.row.Number, w.next.column}
	if name, has := attribute(element, "r"); has {
		named, err := parsePosition(name)
		if err != nil {
			return err
		}
		at.column = named.column
	}
	w.next.column = at.column + 1
	raw, err := w.readCell(element)
	if err != nil {
		return err
	}
	cell := raw.meaning(w)
	if cell.Text == "" && cell.Doubt == "" {
		return nil
	}
	if w.left -= len(cell.Text); w.left < 0 {
		return apperr.New(apperr.TooLarge, "The worksheet has more than "+unpackedLimit+" of text. Delete the columns that are not imported.")
	}
	cell.Column, cell.Hidden = at.column, w.isHidden(at.column)
	w.row.Cells = append(w.row.Cells, cell)
	return nil
}

// rawCell is a cell as it is stored in the file.
type rawCell struct {
	kind                  string // the attribute t
	style                 style
	value                 text
	hasValue              bool
	formula               string
	isFormula, makesLinks bool
}

func (w *worksheet) readCell(element xml.StartElement) (rawCell, error) {
	cell := rawCell{kind: "n"}
	if kind, has := attribute(element, "t"); has {
		cell.kind = kind
	}
	number, _ := attribute(element, "s")
	if index, err := strconv.Atoi(number); number != "" && (err != nil || index < 0 || index >= len(w.book.styles) && len(w.book.styles) > 0) {
		return cell, unreadable(fmt.Errorf("style %q", number))
	} else if index < len(w.book.styles) {
		cell.style = w.book.styles[index]
	}
	for {
		token, err := w.decoder.Token()
		if err != nil {
			return cell, unreadable(err)
		}
		switch token := token.(type) {
		case xml.EndElement:
			return cell, nil
		case xml.StartElement:
			switch token.Name.Local {
			case "v":
				cell.hasValue = true
				cell.value.string, err = w.content()
			case "f":
				err = w.readFormula(&cell, token)
			case "is":
				cell.hasValue, cell.kind = true, "inlineStr"
				cell.value, err = readText(w.decoder)
			default:
				err = w.decoder.Skip()
			}
			if _, isOurs := errors.AsType[*apperr.Error](err); err != nil && !isOurs {
				err = unreadable(err)
			}
			if err != nil {
				return cell, err
			}
		}
	}
}

var linkFormula = regexp.MustCompile(`(?i)\bHYPERLINK\(`)

// readFormula reads a formula. A formula that is shared has its text at its first cell only.
func (w *worksheet) readFormula(cell *rawCell, element xml.StartElement) (err error) {
	cell.isFormula = true
	cell.formula, err = w.content()
	cell.makesLinks = linkFormula.MatchString(cell.formula)
	if id, isShared := attribute(element, "si"); isShared {
		cell.makesLinks = cell.makesLinks || w.shared[id]
		w.shared[id] = cell.makesLinks
	}
	return err
}

// content returns the text of the current element.
func (w *worksheet) content() (string, error) {
	var out strings.Builder
	for {
		token, err := w.decoder.Token()
		if err != nil {
			return "", err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if err := w.decoder.Skip(); err != nil {
				return "", err
			}
		case xml.EndElement:
			return out.String(), nil
		case xml.CharData:
			if out.Write(token); out.Len() > maxCellText {
				return "", tooComplex()
			}
		}
	}
}
