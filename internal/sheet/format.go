package sheet

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// format is how a cell shows a number. A nil format shows numbers as they are.
type format struct {
	sections []section
	isLocal  bool // a date whose order depends on the reader's system
}

// section is the part of a format that applies to some numbers.
type section struct {
	code             string
	tokens           []token
	condition        string // such as >=10
	hasDate, hasTime bool
	hasFraction      bool // of seconds
	hasNoon          bool // the section shows AM and PM
	isForeign        bool // names are in another language than English
	isGeneral        bool
}

// token is a part of a section. Its kind is 'l' for text to show; '0' for a digit; '.', ',', '%',
// '/', '@' as written; 'x' for an exponent; y, M, d, h, m, s for parts of a date; 'e' for parts of
// another calendar or language; 'E' for an elapsed time; 'n' for AM or PM.
type token struct {
	kind rune
	text string
}

// builtIn are the formats that files refer to by a number and that are equal everywhere.
var builtIn = map[int]string{
	0: "General", 1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?", 13: "# ??/??",
	18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss",
	37: "#,##0;-#,##0", 38: "#,##0;-#,##0", 39: "#,##0.00;-#,##0.00", 40: "#,##0.00;-#,##0.00",
	41: "#,##0;-#,##0;-", 42: "$#,##0;-$#,##0;-", 43: "#,##0.00;-#,##0.00;-", 44: "$#,##0.00;-$#,##0.00;-",
	45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0", 49: "@",
	5: "$#,##0;-$#,##0", 6: "$#,##0;-$#,##0", 7: "$#,##0.00;-$#,##0.00", 8: "$#,##0.00;-$#,##0.00",
}

// newFormat parses a format. Numbers 14 to 17, 22, 27 to 36, 50 to 58 and 71 to 81 are dates that
// each system shows in its own way.
func newFormat(id int, code string, isCustom bool) *format {
	if isCustom && (id < 14 || id > 17) && id != 22 {
		return parseFormat(code)
	}
	isDate := 14 <= id && id <= 17 || id == 22 || 27 <= id && id <= 36 || 50 <= id && id <= 58 || 71 <= id && id <= 81
	if isDate {
		return &format{isLocal: true}
	}
	if code, ok := builtIn[id]; ok {
		return parseFormat(code)
	}
	return nil
}

func parseFormat(code string) *format {
	f := &format{}
	for _, part := range splitSections(code) {
		f.sections = append(f.sections, parseSection(part))
	}
	return f
}

// splitSections splits a format at its semicolons.
func splitSections(code string) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(code); i++ {
		switch c := code[i]; {
		case c == '"':
			quoted = !quoted
		case (c == '\\' || c == '_' || c == '*') && !quoted:
			i++
		case c == ';' && !quoted:
			parts = append(parts, code[start:i])
			start = i + 1
		}
	}
	return append(parts, code[start:])
}

var tokenPattern = regexp.MustCompile(`(?i)^(?:"[^"]*"?|\\.|_.|\*.|\[[^\]]*\]|general|am/pm|a/p|上午/下午|午前/午後|오전/오후|e[+-]|y+|m+|d+|h+|s+|e+|g+|b+|a{3,4}|.)`)

func parseSection(code string) section {
	s := section{code: code}
	for rest := code; rest != ""; {
		match := tokenPattern.FindString(rest)
		if match == "" { // a line break or a broken character
			match = rest[:1]
		}
		rest = rest[len(match):]
		s.addToken(match)
	}
	s.finish()
	return s
}

func (s *section) addToken(text string) {
	kind := rune('l')
	lower := strings.ToLower(text)
	switch c := lower[0]; {
	case c == '"':
		text = strings.Trim(text, `"`)
	case c == '\\':
		text = text[1:]
	case c == '_' || c == '*':
		text = ""
	case c == '[':
		s.addBracket(lower, text)
		return
	case lower == "general":
		s.isGeneral = true
		kind = 'G'
	case lower == "am/pm", lower == "a/p", strings.ContainsRune(text, '/') && len(text) > 3:
		kind, s.hasNoon = 'n', true
	case lower == "e+" || lower == "e-":
		kind = 'x'
	case strings.Trim(lower, "y") == "":
		kind = 'y'
	case strings.Trim(lower, "d") == "":
		kind = 'd'
	case strings.Trim(lower, "m") == "":
		kind = 'M'
	case strings.Trim(lower, "h") == "":
		kind = 'h'
	case strings.Trim(lower, "s") == "":
		kind = 's'
	case strings.Trim(lower, "egb") == "", lower == "aaa", lower == "aaaa":
		kind = 'e'
	case c == '0' || c == '#' || c == '?':
		kind = '0'
	case strings.ContainsAny(lower, ".,%/@"):
		kind = rune(c)
	}
	s.tokens = append(s.tokens, token{kind, text})
}

var english = regexp.MustCompile(`^(?:[0-9]*409|[0-9]*809|[0-9]*c09|[0-9]*1009|en.*)$`)

// addBracket adds what stands in brackets: a currency and a locale, a condition, an elapsed time
// or a color.
func (s *section) addBracket(lower, text string) {
	inner := strings.TrimSuffix(lower[1:], "]")
	switch {
	case strings.HasPrefix(inner, "$"):
		symbol, locale, hasLocale := strings.Cut(strings.TrimSuffix(text[2:], "]"), "-")
		s.tokens = append(s.tokens, token{'l', symbol})
		s.isForeign = s.isForeign || hasLocale && !english.MatchString(strings.ToLower(strings.Split(locale, ",")[0]))
	case inner != "" && strings.ContainsAny(inner[:1], "<>="):
		s.condition = inner
	case inner != "" && (strings.Trim(inner, "h") == "" || strings.Trim(inner, "m") == "" || strings.Trim(inner, "s") == ""):
		s.tokens = append(s.tokens, token{'E', inner})
		s.hasTime = true
	}
}

// finish distinguishes minutes from months, and dates from numbers.
func (s *section) finish() {
	previous := -1 // the part of the date before
	for i, t := range s.tokens {
		if !strings.ContainsRune("yMdhsenE", t.kind) {
			continue
		}
		isAfterHour := previous >= 0 && (s.tokens[previous].kind == 'h' || s.tokens[previous].kind == 'E' && s.tokens[previous].text[0] == 'h')
		if t.kind == 'M' && len(t.text) <= 2 && isAfterHour {
			s.tokens[i].kind = 'm'
		}
		if t.kind == 's' && previous >= 0 && s.tokens[previous].kind == 'M' && len(s.tokens[previous].text) <= 2 {
			s.tokens[previous].kind = 'm'
		}
		previous = i
	}
	for _, t := range s.tokens {
		s.hasDate = s.hasDate || strings.ContainsRune("yMde", t.kind)
		s.hasTime = s.hasTime || strings.ContainsRune("hmsn", t.kind)
	}
	if s.hasTime {
		s.joinFraction()
	}
}

// joinFraction joins the point and the zeros after seconds into one token.
func (s *section) joinFraction() {
	var joined []token
	for i := 0; i < len(s.tokens); i++ {
		t := s.tokens[i]
		if t.kind == '.' && i+1 < len(s.tokens) && s.tokens[i+1].kind == '0' {
			for i+1 < len(s.tokens) && s.tokens[i+1].kind == '0' {
				i++
				t.text += "0"
			}
			t.text = t.text[:min(len(t.text), 4)]
			s.hasFraction = true
		} else if t.kind == '.' {
			t.kind = 'l'
		}
		joined = append(joined, t)
	}
	s.tokens = joined
}

// show shows a number.
func (f *format) show(number float64, is1904 bool) Cell {
	if f != nil && f.isLocal {
		return showLocal(number, is1904)
	}
	s, isNegative := f.sectionFor(number)
	if s != nil && (s.hasDate || s.hasTime) {
		return s.showDate(number, is1904)
	}
	if hasLostDigits(number) {
		return Cell{Doubt: "The number has more digits than spreadsheet programs keep, 15: enter it again in a cell that is formatted as text."}
	}
	if s == nil || s.isGeneral && len(s.tokens) == 1 {
		return Cell{Text: general(number)}
	}
	text := strings.TrimSpace(s.showNumber(number, isNegative))
	if text == "" {
		return Cell{Doubt: "The cell's format hides its value, " + general(number) + "."}
	}
	return Cell{Text: text}
}

// showLocal shows a date in a system's own format, including its time if the format has one.
func showLocal(number float64, is1904 bool) Cell {
	if 0 < number && number < 1 {
		return Cell{Text: timeOf(number).Format(time.TimeOnly)}
	}
	s := section{hasDate: true, hasTime: number != math.Trunc(number), tokens: []token{{'e', "e"}}}
	return s.showDate(number, is1904)
}

// showText shows a text.
func (f *format) showText(value string) Cell {
	var s *section
	switch {
	case len(f.sections) == 4:
		s = &f.sections[3]
	case len(f.sections) > 0 && strings.Contains(f.sections[len(f.sections)-1].code, "@"):
		s = &f.sections[len(f.sections)-1]
	default:
		return Cell{Text: value}
	}
	text := ""
	for _, t := range s.tokens {
		switch t.kind {
		case '@', 'G':
			text += value
		default:
			text += t.text
		}
	}
	if strings.TrimSpace(text) == "" {
		return Cell{Doubt: "The cell's format hides its text."}
	}
	return Cell{Text: text}
}

// sectionFor returns the section for a number, and whether the number's sign must be shown.
func (f *format) sectionFor(number float64) (s *section, showsSign bool) {
	if f == nil || len(f.sections) == 0 {
		return nil, true
	}
	for i := range f.sections {
		if s := &f.sections[i]; s.condition != "" && meets(number, s.condition) {
			return s, true
		}
	}
	numeric := f.sections[:min(len(f.sections), 3)]
	switch {
	case f.sections[0].condition != "":
		for i := range numeric {
			if numeric[i].condition == "" {
				return &numeric[i], true
			}
		}
		return nil, true
	case number < 0 && len(numeric) > 1:
		return &numeric[1], false
	case number == 0 && len(numeric) > 2:
		return &numeric[2], true
	}
	return &numeric[0], true
}

// meets reports whether a number meets a condition such as >=10.
func meets(number float64, condition string) bool {
	operator := strings.TrimRight(condition, "0123456789.-+e ")
	limit, err := strconv.ParseFloat(strings.TrimSpace(condition[len(operator):]), 64)
	if err != nil {
		return false
	}
	switch strings.TrimSpace(operator) {
	case "<":
		return number < limit
	case "<=":
		return number <= limit
	case ">":
		return number > limit
	case ">=":
		return number >= limit
	case "<>":
		return number != limit
	}
	return number == limit
}
