package shape

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Normalize rewrites a document, which must be valid JSON, according to its shape. It returns the document for the
// handler, and a copy without free JSON for the validator, which does not check free JSON. Both are the document
// itself if nothing changes.
func (s *Shape) Normalize(document []byte) (normalized, validated []byte) {
	r := rewriter{in: document}
	start := r.skipSpace(0)
	r.value(span{start, r.skip(start)}, s)
	return r.normalized.finish(document), r.validated.finish(document)
}

// rewriter reads a document once, from the start to the end, and edits copies of it.
type rewriter struct {
	in         []byte
	normalized output
	validated  output
}

// output is an edited copy of the document. It is empty before the first edit.
type output struct {
	text   []byte
	copied int // how much of the document has been copied or replaced
}

// replace replaces a part of the document, which must not begin before the end of the previous one.
func (o *output) replace(in []byte, from, to int, with string) {
	o.text = append(append(o.text, in[o.copied:from]...), with...)
	o.copied = to
}

func (o *output) finish(in []byte) []byte {
	if o.copied == 0 && o.text == nil {
		return in
	}
	return append(o.text, in[o.copied:]...)
}

// replace edits both outputs, or only the validator's if the part belongs to free JSON.
func (r *rewriter) replace(from, to int, with string, isFree bool) {
	if !isFree {
		r.normalized.replace(r.in, from, to, with)
	}
	r.validated.replace(r.in, from, to, with)
}

// value rewrites a value. A value of the wrong type remains, because the validator reports its type.
func (r *rewriter) value(v span, s *Shape) {
	switch first := r.in[v.start]; {
	case first == '{' && s.kind == object:
		r.object(v, s)
	case first == '{' && s.isIDObject:
		if id, ok := r.stringID(v); ok {
			r.replace(v.start, id.start, "", s.inFree)
			r.replace(id.end, v.end, "", s.inFree)
		}
	case first == '{':
		r.omit(v, "{}")
	case first == '[' && s.kind == array:
		r.array(v, s)
	case first == '[':
		r.omit(v, "[]")
	case first == '"' && s.kind == object && s.stringAs != "":
		r.replace(v.start, v.start, `{"`+s.stringAs+`":`, s.inFree)
		r.replace(v.end, v.end, "}", s.inFree)
	case s.kind == integer && (first == '-' || first >= '0' && first <= '9'):
		if digits, ok := Integral(r.in[v.start:v.end]); ok {
			r.replace(v.start, v.end, digits, s.inFree)
		}
	}
}

// array rewrites the items of an array. If there are too many, the validator gets only one more than allowed.
func (r *rewriter) array(v span, s *Shape) {
	at := r.skipSpace(v.start + 1)
	for count := 0; r.in[at] != ']'; count++ {
		item := span{at, r.skip(at)}
		if count > s.maxItems {
			r.validated.replace(r.in, bytes.LastIndexByte(r.in[:at], ','), v.end-1, "")
			return
		}
		r.value(item, s.items)
		if at = r.skipSpace(item.end); r.in[at] == ',' {
			at = r.skipSpace(at + 1)
		}
	}
}

// omit empties a container for the validator.
func (r *rewriter) omit(v span, empty string) {
	if v.end-v.start > len(empty) {
		r.validated.replace(r.in, v.start, v.end, empty)
	}
}

// span is a part of the document.
type span struct{ start, end int }

// member is a member of an object.
type member struct {
	ordinal    int // 1, 2, 3 …
	comma      int // the position of the comma or brace before it
	rank       int // of its spelling
	isAlias    bool
	key, value span
}

// unset is added to the rank of a null, which counts only if no other spelling has a value.
const unset = 1000

// next returns the member of an object that follows a comma or brace, if there is one, and the
// position of the comma or brace after it.
func (r *rewriter) next(comma int) (m member, after int, ok bool) {
	at := r.skipSpace(comma + 1)
	if r.in[at] == '}' {
		return m, at, false
	}
	m.comma, m.key = comma, span{at, r.skip(at)}
	m.value.start = r.skipSpace(r.skipSpace(m.key.end) + 1)
	m.value.end = r.skip(m.value.start)
	return m, r.skipSpace(m.value.end), true
}

// object rewrites an object: it keeps one member for each property.
func (r *rewriter) object(v span, s *Shape) {
	var members [maxProperties]member // by property
	count := 0
	for at := v.start; r.in[at] != '}'; {
		m, after, ok := r.next(at)
		if at = after; !ok {
			break
		}
		count++
		found, ok := s.spelling(r.in[m.key.start:m.key.end])
		if !ok {
			continue
		}
		m.ordinal, m.rank, m.isAlias = count, found.rank, found.isAlias
		if r.in[m.value.start] == 'n' {
			m.rank += unset
		}
		if best := &members[found.property]; best.ordinal == 0 || m.rank <= best.rank {
			*best = m
		}
	}
	order := make([]int, 0, maxProperties) // of the properties, as their members are in the document
	for i := range s.properties {
		if m := members[i]; m.ordinal > 0 && (m.rank < unset || s.keepsNull(i)) {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return members[a].ordinal - members[b].ordinal })
	kept, ordinal := v.start+1, 0 // the end of the last member that was kept
	for _, i := range order {
		m := members[i]
		switch {
		case m.ordinal > ordinal+1 && ordinal == 0:
			r.replace(kept, m.key.start, "", s.isFree)
		case m.ordinal > ordinal+1:
			r.replace(kept, m.comma, "", s.isFree)
		}
		r.member(m, s.properties[i], s.isFree)
		kept, ordinal = m.value.end, m.ordinal
	}
	if ordinal < count {
		r.replace(kept, v.end-1, "", s.isFree)
	}
}

// keepsNull reports whether a null does not count as absent.
func (s *Shape) keepsNull(i int) bool {
	return s.properties[i].isRequired || s.properties[i].shape.isNullable || s.isFree
}

// member rewrites a member that is kept. Under an alias, a list of one item can be given as the item itself: inbox
// for inboxes.
func (r *rewriter) member(m member, p property, isFree bool) {
	if string(r.in[m.key.start+1:m.key.end-1]) != p.name {
		r.replace(m.key.start, m.key.end, `"`+p.name+`"`, isFree)
	}
	if first := r.in[m.value.start]; m.isAlias && first != 'n' && p.shape.kind == array && first != '[' {
		r.replace(m.value.start, m.value.start, "[", isFree)
		r.value(m.value, p.shape.items)
		r.replace(m.value.end, m.value.end, "]", isFree)
		return
	}
	r.value(m.value, p.shape)
}

// stringID returns the last id of an object that is a string.
func (r *rewriter) stringID(v span) (id span, ok bool) {
	for at := v.start; r.in[at] != '}'; {
		m, after, isMember := r.next(at)
		if at = after; isMember && string(r.in[m.key.start:m.key.end]) == `"id"` && r.in[m.value.start] == '"' {
			id, ok = m.value, true
		}
	}
	return id, ok
}

// spelling returns the property that a key names.
func (s *Shape) spelling(key []byte) (spelling, bool) {
	if bytes.IndexByte(key, '\\') < 0 {
		found, ok := s.spellings[string(key[1:len(key)-1])]
		return found, ok
	}
	var name string
	if err := json.Unmarshal(key, &name); err != nil {
		panic(err) // cannot happen: the document is valid
	}
	found, ok := s.spellings[name]
	return found, ok
}

func (r *rewriter) skipSpace(at int) int {
	for at < len(r.in) && (r.in[at] == ' ' || r.in[at] == '\n' || r.in[at] == '\t' || r.in[at] == '\r') {
		at++
	}
	return at
}

// skip returns the end of the value at a position.
func (r *rewriter) skip(at int) int {
	for depth := 0; ; {
		switch r.in[at] {
		case '"':
			at = r.skipString(at)
		case '{', '[':
			depth++
			at++
		case '}', ']':
			depth--
			at++
		case ',', ':', ' ', '\n', '\t', '\r':
			at++
			continue
		default:
			at = r.skipLiteral(at)
		}
		if depth == 0 {
			return at
		}
	}
}

func (r *rewriter) skipString(at int) int {
	for {
		at += 1 + bytes.IndexByte(r.in[at+1:], '"')
		escapes := len(r.in[:at]) - len(bytes.TrimRight(r.in[:at], `\`))
		if escapes%2 == 0 {
			return at + 1
		}
	}
}

// skipLiteral returns the end of a number, true, false or null.
func (r *rewriter) skipLiteral(at int) int {
	for at < len(r.in) && strings.IndexByte(",:]} \n\t\r", r.in[at]) < 0 {
		at++
	}
	return at
}

// Integral returns the digits of a number that is written with a fraction or an exponent but is an
// integer.
func Integral(number []byte) (string, bool) {
	if !bytes.ContainsAny(number, ".eE") {
		return "", false
	}
	mantissa, sign := number, ""
	if mantissa[0] == '-' {
		mantissa, sign = mantissa[1:], "-"
	}
	exponent := 0
	if e := bytes.IndexAny(mantissa, "eE"); e >= 0 {
		var err error
		if exponent, err = strconv.Atoi(string(mantissa[e+1:])); err != nil {
			return "", false
		}
		mantissa = mantissa[:e]
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	digits := append(bytes.Clone(whole), fraction...)
	point := len(whole) + exponent // the position of the decimal point in the digits
	digits = bytes.TrimRight(digits, "0")
	point -= len(digits) - len(bytes.TrimLeft(digits, "0"))
	digits = bytes.TrimLeft(digits, "0")
	switch {
	case len(digits) == 0:
		return "0", true
	case len(digits) > point || point > 20:
		return "", false // not an integer, or out of range; the validator reports it
	}
	return sign + string(digits) + string(bytes.Repeat([]byte("0"), point-len(digits))), true
}
