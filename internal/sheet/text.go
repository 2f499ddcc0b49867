package sheet

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"

	"parley/internal/apperr"
)

// reading is a text decoded with an encoding.
type reading struct {
	encoding string
	text     string
	isGuess  bool
}

// openText returns the readings of a text with each separator. A first line such as sep=; decides
// the separator.
func openText(file []byte) (*File, error) {
	readings, err := decode(file)
	if err != nil {
		return nil, err
	}
	opened := &File{IsText: true}
	for _, r := range readings {
		text, separators := r.text, ",;\t|"
		if first, rest, _ := cutLine(text); len(first) == len("sep=;") && strings.EqualFold(first[:4], "sep=") {
			text, separators = rest, first[4:]
		}
		for _, separator := range []byte(separators) {
			opened.Tables = append(opened.Tables, Table{
				Encoding: r.encoding, IsGuess: r.isGuess,
				Rows: func(visit func(Row) error) (*Layout, error) {
					p := textReader{text: text, separator: separator, line: 1}
					return &Layout{}, p.read(visit)
				},
			})
		}
	}
	return opened, nil
}

func cutLine(text string) (line, rest string, found bool) {
	end := strings.IndexAny(text, "\r\n")
	if end < 0 {
		return text, "", false
	}
	size := 1
	if strings.HasPrefix(text[end:], "\r\n") {
		size = 2
	}
	return text[:end], text[end+size:], true
}

// decode returns the readings of a file: the only one if it is UTF-8 or has a byte order mark.
func decode(file []byte) ([]reading, error) {
	for _, marked := range []struct {
		mark, name string
		encoding   encoding.Encoding
	}{
		{"\xEF\xBB\xBF", "UTF-8", encoding.Nop},
		{"\xFF\xFE", "UTF-16LE", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)},
		{"\xFE\xFF", "UTF-16BE", unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)},
		{"\x84\x31\x95\x33", "GB18030", simplifiedchinese.GB18030},
	} {
		content, ok := bytes.CutPrefix(file, []byte(marked.mark))
		if !ok {
			continue
		}
		text, err := marked.encoding.NewDecoder().Bytes(content)
		if isClean := marked.name == "UTF-8" || !bytes.ContainsRune(text, utf8.RuneError); err == nil && isClean && utf8.Valid(text) && bytes.IndexByte(text, 0) < 0 {
			return []reading{{marked.name, string(text), false}}, nil
		}
		return nil, Refuse("The file begins like a text in " + marked.name + ", but is not valid in it: save it again as .csv in UTF-8, or as .xlsx.")
	}
	if bytes.IndexByte(file, 0) >= 0 {
		return nil, Refuse("The file is neither .xlsx nor a text such as .csv: save it as one of these in a spreadsheet program. A text in UTF-16 must begin with a byte order mark.")
	}
	if utf8.Valid(file) {
		return []reading{{"UTF-8", string(file), false}}, nil
	}
	var readings []reading
	for _, r := range []struct {
		name     string
		encoding encoding.Encoding
		isLikely func([]byte) bool
	}{
		{"GB18030", simplifiedchinese.GB18030, isLikelyGB},
		{"Big5", traditionalchinese.Big5, isLikelyBig5},
	} {
		text, err := r.encoding.NewDecoder().Bytes(file)
		if err == nil && !bytes.ContainsRune(text, utf8.RuneError) {
			readings = append(readings, reading{r.name, string(text), !r.isLikely(file)})
		}
	}
	if len(readings) == 0 {
		return nil, Refuse("The text is neither in UTF-8 nor in UTF-16 with a byte order mark, GB18030 or Big5: save it as .csv in UTF-8, or as .xlsx.")
	}
	if len(readings) == 2 && !readings[0].isGuess && !readings[1].isGuess {
		readings[0].isGuess, readings[1].isGuess = true, true
	}
	return readings, nil
}

// minPairs is the minimum number of two-byte characters that identifies an encoding.
const minPairs = 2

// pairs counts the two-byte characters.
func pairs(file []byte, is func(lead, trail byte) bool) (matching, all int) {
	for i := 0; i < len(file); i++ {
		if file[i] < 0x80 || i+1 == len(file) {
			continue
		}
		all++
		if is(file[i], file[i+1]) {
			matching++
		}
		i++
	}
	return matching, all
}

// isLikelyGB reports whether bytes look like Chinese in GB18030, and neither like Big5, Japanese,
// Korean nor a Western language: nearly all characters are common ones, and some have codes that
// Korean does not use.
func isLikelyGB(file []byte) bool {
	common, all := pairs(file, func(lead, trail byte) bool {
		return trail >= 0xA1 && (0xB0 <= lead && lead <= 0xD7 || lead == 0xA1 || lead == 0xA3)
	})
	late, _ := pairs(file, func(lead, trail byte) bool { return trail >= 0xA1 && 0xC9 <= lead && lead <= 0xD7 })
	return all >= 2*minPairs && 10*common >= 9*all && 10*late >= 2*all
}

// isLikelyBig5 is isLikelyGB for Big5, whose second bytes are often ASCII.
func isLikelyBig5(file []byte) bool {
	common, all := pairs(file, func(lead, trail byte) bool {
		return (trail >= 0xA1 || 0x40 <= trail && trail <= 0x7E) && 0xA1 <= lead && lead <= 0xC6
	})
	low, _ := pairs(file, func(lead, trail byte) bool { return lead >= 0xA1 && 0x40 <= trail && trail <= 0x7E })
	return all >= minPairs && 10*common >= 9*all && 10*low >= 2*all
}

// textReader reads separated values. A quotation mark within an unquoted field is text.
type textReader struct {
	text      string
	separator byte
	offset    int
	line      int
	cells     int
}

func (p *textReader) read(visit func(Row) error) error {
	for number := 1; p.offset < len(p.text); number++ {
		row := Row{Number: number}
		for column, isLast := 0, false; !isLast; column++ {
			var value string
			var err error
			if value, isLast, err = p.field(); err != nil {
				return err
			}
			if p.cells++; p.cells > maxCells {
				return apperr.New(apperr.TooLarge, "The file has too many cells. Delete the columns that are not imported.")
			}
			if strings.TrimSpace(value) == "" {
				continue
			}
			cell := Cell{Column: column, Text: value}
			if strings.ContainsRune(value, utf8.RuneError) {
				cell.Doubt = lostCharacters
			}
			row.Cells = append(row.Cells, cell)
		}
		if len(row.Cells) == 0 {
			continue
		}
		if err := visit(row); err != nil {
			return err
		}
	}
	return nil
}

// field reads a field and the separator that ends it, and reports whether it is the last one of its row.
func (p *textReader) field() (value string, isLast bool, err error) {
	rest := p.text[p.offset:]
	if quoted := strings.TrimLeft(rest, " "); strings.HasPrefix(quoted, `"`) {
		p.offset += len(rest) - len(quoted) + 1
		return p.quoted()
	}
	end := strings.IndexAny(rest, string(p.separator)+"\r\n")
	if end < 0 {
		p.offset = len(p.text)
		return rest, true, nil
	}
	p.offset += end
	return rest[:end], p.end(), nil
}

// end skips a separator or a line break.
func (p *textReader) end() (isLast bool) {
	if p.offset >= len(p.text) {
		return true
	}
	c := p.text[p.offset]
	p.offset++
	if c == '\r' && strings.HasPrefix(p.text[p.offset:], "\n") {
		p.offset++
	}
	if c == p.separator {
		return false
	}
	p.line++
	return true
}

// quoted reads a field after its opening quotation mark.
func (p *textReader) quoted() (value string, isLast bool, err error) {
	opened := p.line
	var out strings.Builder
	for {
		rest := p.text[p.offset:]
		end := strings.IndexByte(rest, '"')
		if end < 0 {
			return "", false, Refuse(fmt.Sprintf("The quotation mark that opens a field in line %d of the file is never closed.", opened))
		}
		out.WriteString(rest[:end])
		p.line += lines(rest[:end])
		p.offset += end + 1
		if !strings.HasPrefix(rest[end+1:], `"`) {
			break
		}
		out.WriteByte('"')
		p.offset++
	}
	for p.separator != ' ' && strings.HasPrefix(p.text[p.offset:], " ") {
		p.offset++
	}
	if p.offset < len(p.text) && !strings.ContainsRune("\r\n"+string(p.separator), rune(p.text[p.offset])) {
		return "", false, Refuse(fmt.Sprintf("Line %d of the file has text after a closing quotation mark: write a quotation mark within a quoted field twice.", p.line))
	}
	return out.String(), p.end(), nil
}

func lines(text string) int {
	return strings.Count(text, "\n") + strings.Count(text, "\r") - strings.Count(text, "\r\n")
}
