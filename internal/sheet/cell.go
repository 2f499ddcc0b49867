package sheet

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// meaning returns the content that the cell shows, or the reason why it is in doubt.
func (c rawCell) meaning(w *worksheet) Cell {
	address, name, isLink := parseLinkFormula(c.formula)
	if c.kind == "s" && c.value.string != "" {
		index, err := strconv.Atoi(strings.TrimSpace(c.value.string))
		if err != nil || index < 0 || index >= len(w.book.strings) {
			return Cell{Doubt: "The cell refers to a text that the file does not hold."}
		}
		c.kind, c.value = "inlineStr", w.book.strings[index]
	}
	switch {
	case c.isFormula && !c.isCalculated() && isLink:
		c.kind, c.value.string = "inlineStr", name
	case c.isFormula && !c.isCalculated():
		return Cell{Doubt: "The cell holds a formula, =" + shorten(c.formula) + ", and the file does not hold its result. Open the file in a spreadsheet program and save it, or replace the formula with its result."}
	case c.makesLinks && !isLink:
		return Cell{Doubt: "The cell holds a formula that computes the address of a link: replace it with a link."}
	}
	cell := c.shown(w)
	if isLink && cell.Text != "" {
		cell.Text = withLink(cell.Text, address)
	}
	if cell.Doubt == "" && (c.value.isStruck || c.style.isStruck) && strings.TrimSpace(cell.Text) != "" {
		cell.Doubt = "The cell has text that is struck through: delete that text, or remove the line through it."
	}
	if strings.ContainsRune(cell.Text, '\uFFFD') && cell.Doubt == "" {
		cell.Doubt = lostCharacters
	}
	return cell
}

const lostCharacters = "The cell has characters that an earlier conversion has lost (�): correct them."

// isCalculated reports whether the file contains the result of the formula. An empty text is a result.
func (c rawCell) isCalculated() bool {
	return c.hasValue && (c.value.string != "" || c.kind == "str")
}

// shown returns the value as the cell shows it.
func (c rawCell) shown(w *worksheet) Cell {
	value := c.value.string
	switch c.kind {
	case "str":
		return c.showText(unescape(value))
	case "inlineStr":
		return c.showText(value)
	case "b":
		return Cell{Text: map[bool]string{true: "TRUE", false: "FALSE"}[isTrue(strings.TrimSpace(value))]}
	case "e":
		return Cell{Doubt: "The cell holds the error " + value + "."}
	case "d":
		serial, hasTime, err := parseDate(strings.TrimSpace(value))
		if err != nil {
			return Cell{Text: value}
		}
		return Cell{Text: isoDate(serial, hasTime)}
	}
	value = strings.TrimSpace(value)
	number, err := strconv.ParseFloat(value, 64)
	if err != nil || value == "" {
		return Cell{Text: value}
	}
	return c.style.format.show(number, w.book.is1904)
}

// showText applies the part of a number format that is for text, as in "Tel. "@.
func (c rawCell) showText(value string) Cell {
	if c.style.format == nil || strings.TrimSpace(value) == "" {
		return Cell{Text: value}
	}
	return c.style.format.showText(value)
}

var wholeLink = regexp.MustCompile(`(?is)^\s*HYPERLINK\(\s*"((?:[^"]|"")*)"\s*(?:[,;]\s*(.*))?\)\s*$`)

var literal = regexp.MustCompile(`^"((?:[^"]|"")*)"\s*$`)

// parseLinkFormula returns the address and the text of a formula such as
// HYPERLINK("https://example.com","our page"). The text is the address if it is computed.
func parseLinkFormula(formula string) (address, name string, ok bool) {
	match := wholeLink.FindStringSubmatch(formula)
	if match == nil {
		return "", "", false
	}
	address = strings.ReplaceAll(match[1], `""`, `"`)
	if text := literal.FindStringSubmatch(match[2]); text != nil {
		return address, strings.ReplaceAll(text[1], `""`, `"`), true
	}
	return address, address, true
}

// shorten shortens a text that a message quotes.
func shorten(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// parseDate parses a date of ISO 8601 into the serial number of a day from 30 December 1899.
func parseDate(value string) (serial float64, hasTime bool, err error) {
	for _, layout := range []string{"2006-01-02T15:04:05.999Z07:00", "2006-01-02T15:04:05.999", "2006-01-02T15:04", "2006-01-02"} {
		var at time.Time
		if at, err = time.Parse(layout, value); err == nil {
			_, offset := at.Zone()
			seconds := at.Unix() + int64(offset) - epoch.Unix()
			return float64(seconds) / 86_400, seconds%86_400 != 0, nil
		}
	}
	return 0, false, err
}
