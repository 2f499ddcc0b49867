package faq

import (
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// textOf turns HTML into readable text: blocks and breaks become lines, items of lists get a dash, links keep their
// address where the text does not say it. A text that is no HTML stays as it is but for its entities: only a tag that
// HTML knows, written as HTML writes it, is taken for one.
func textOf(source string) string {
	w := writer{flowing: hasBlocks(source)}
	for _, t := range tokens(source) {
		w.take(t)
	}
	return tidy(w.out.String())
}

// token is a tag, or text, where tag is empty.
type token struct {
	tag     string
	closing bool
	attrs   map[string]string
	text    string
}

// tokens reads a source; what looks like a tag and is none is text.
func tokens(source string) []token {
	var found []token
	z := html.NewTokenizer(strings.NewReader(source))
	for read := 0; ; {
		kind := z.Next()
		raw := string(z.Raw())
		if kind == html.ErrorToken {
			// What the end of the text cut off was no tag.
			return append(found, token{text: decode(source[read:])})
		}
		read += len(raw)
		switch kind {
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			if t, ok := readTag(z, kind, raw); ok {
				found = append(found, t)
				continue
			}
		case html.CommentToken:
			if strings.HasPrefix(raw, "<!--") {
				continue
			}
		case html.DoctypeToken:
			continue
		}
		found = append(found, token{text: decode(raw)})
	}
}

// readTag is false for what HTML does not know, as <your name>, and for comparisons, as a<b and c>d.
func readTag(z *html.Tokenizer, kind html.TokenType, raw string) (token, bool) {
	name, more := z.TagName()
	t := token{tag: string(name), closing: kind == html.EndTagToken}
	if !knownTags[t.tag] && !strings.Contains(t.tag, ":") {
		return t, false
	}
	if more && !strings.Contains(raw, "=") && !t.closing {
		return t, false
	}
	t.attrs = map[string]string{}
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		t.attrs[string(key)] = string(value)
	}
	return t, true
}

func hasBlocks(source string) bool {
	for _, t := range tokens(source) {
		if blockTags[t.tag] || t.tag == "br" {
			return true
		}
	}
	return false
}

var entity = regexp.MustCompile(`&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});`)

// decode leaves alone what only begins like an entity, as the parameters of an address do.
func decode(text string) string {
	return printable(entity.ReplaceAllStringFunc(text, html.UnescapeString))
}

// writer makes lines of tokens.
type writer struct {
	out     strings.Builder
	flowing bool // blocks make the lines, so that those of the source are spaces
	hidden  string
	pre     int
	links   []link
}

type link struct {
	address string
	start   int // where its text begins
}

func (w *writer) take(t token) {
	switch {
	case w.hidden != "":
		if t.closing && t.tag == w.hidden {
			w.hidden = ""
		}
	case t.tag == "":
		w.text(t.text)
	case hiddenTags[t.tag]:
		if !t.closing {
			w.hidden = t.tag
		}
	case t.tag == "br":
		w.out.WriteByte('\n')
	case t.tag == "a":
		w.link(t)
	case t.tag == "img" && t.attrs["alt"] != "":
		w.text(printable(t.attrs["alt"]))
	case t.tag == "li" && !t.closing:
		w.line()
		w.out.WriteString("- ")
	case (t.tag == "td" || t.tag == "th") && t.closing:
		w.out.WriteByte('\t')
	case t.tag == "pre":
		w.line()
		if t.closing {
			w.pre = max(w.pre-1, 0)
		} else {
			w.pre++
		}
	case blockTags[t.tag]:
		w.line()
	}
}

func (w *writer) text(text string) {
	if !w.flowing || w.pre > 0 {
		w.out.WriteString(text)
		return
	}
	words := strings.Join(strings.FieldsFunc(text, blank), " ")
	if words == "" {
		words = " "
	} else {
		if blank(rune(text[0])) {
			words = " " + words
		}
		if blank(rune(text[len(text)-1])) {
			words += " "
		}
	}
	if w.atLineStart() || strings.HasSuffix(w.out.String(), " ") {
		words = strings.TrimLeft(words, " ")
	}
	w.out.WriteString(words)
}

// blank tells HTML's white space; a space that must not break is none.
func blank(r rune) bool { return r == ' ' || r == '\n' || r == '\t' || r == '\r' || r == '\f' }

func (w *writer) atLineStart() bool {
	return w.out.Len() == 0 || strings.HasSuffix(w.out.String(), "\n") || strings.HasSuffix(w.out.String(), "\n- ")
}

// line begins a new line where there is something on this one.
func (w *writer) line() {
	if !w.atLineStart() {
		w.out.WriteByte('\n')
	}
}

func (w *writer) link(t token) {
	if !t.closing {
		w.links = append(w.links, link{address: strings.TrimSpace(printable(t.attrs["href"])), start: w.out.Len()})
		return
	}
	if len(w.links) == 0 {
		return
	}
	last := w.links[len(w.links)-1]
	w.links = w.links[:len(w.links)-1]
	text := strings.TrimSpace(w.out.String()[last.start:])
	isLong := len(text) > 4*len(last.address)+64 // it is not the address then, and need not be spelt the same
	switch address := bareAddress(last.address); {
	case address == "", !isLong && address == bareAddress(text):
	case text == "":
		w.out.WriteString(last.address)
	default:
		w.out.WriteString(" (" + strings.TrimPrefix(strings.TrimPrefix(last.address, "mailto:"), "tel:") + ")")
	}
}

// bareAddress is what two spellings of an address have in common; it is empty when the address leads nowhere else.
func bareAddress(address string) string {
	address = strings.ToLower(address)
	if strings.HasPrefix(address, "#") || strings.HasPrefix(address, "javascript:") {
		return ""
	}
	for _, scheme := range []string{"https://", "http://", "mailto:", "tel:"} {
		address = strings.TrimPrefix(address, scheme)
	}
	return strings.TrimSuffix(address, "/")
}

// tidy drops spaces at the ends of lines and all but one of several blank lines.
func tidy(text string) string {
	lines := strings.Split(text, "\n")
	kept := lines[:0]
	for _, line := range lines {
		line = strings.TrimRight(line, " \t\u00a0")
		if line == "" && len(kept) > 0 && kept[len(kept)-1] == "" {
			continue
		}
		kept = append(kept, line)
	}
	return strings.TrimSpace(strings.Join(kept, "\n"))
}

var hiddenTags = set(`script style title template noscript iframe object textarea select svg math`)

var blockTags = set(`p div h1 h2 h3 h4 h5 h6 ul ol li dl dt dd table thead tbody tfoot tr caption blockquote pre hr section
	article header footer main aside nav figure figcaption address center fieldset form details summary body html`)

var knownTags = merge(hiddenTags, blockTags, set(`a abbr acronym area audio b base basefont bdi bdo big br button canvas
	cite code col colgroup data datalist del dfn em embed font frame frameset head i img input ins kbd label legend link
	map mark menu meta meter nobr noframes optgroup option output param picture progress q rp rt ruby s samp small source
	span strike strong sub sup td th time track tt u var video wbr`))

func merge(sets ...map[string]bool) map[string]bool {
	all := map[string]bool{}
	for _, one := range sets {
		for word := range one {
			all[word] = true
		}
	}
	return all
}
