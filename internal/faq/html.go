package faq

import (
	"maps"
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// htmlToText converts HTML to readable text. Blocks and breaks become lines, list items get a dash,
// and links get their URL in parentheses unless their text is the URL.
//
// Text that is not HTML is returned as it is, apart from entities: only the tags that HTML defines
// are treated as tags.
func htmlToText(source string) string {
	tokens := parseTokens(source)
	w := textWriter{reflows: hasBlocks(tokens)}
	for _, t := range tokens {
		w.add(t)
	}
	return trimLines(w.out.String())
}

// token is a tag, or text if tag is empty.
type token struct {
	tag   string
	isEnd bool
	attrs map[string]string
	text  string
}

// parseTokens splits a source into tags and text, without comments. Something that only looks like
// a tag is text.
func parseTokens(source string) []token {
	var tokens []token
	z := html.NewTokenizer(strings.NewReader(source))
	for read := 0; ; {
		kind := z.Next()
		raw := string(z.Raw())
		if kind == html.ErrorToken {
			// A tag that the end of the source cuts off is text.
			return append(tokens, token{text: decodeEntities(source[read:])})
		}
		read += len(raw)
		switch kind {
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			if t, ok := parseTag(z, kind, raw); ok {
				tokens = append(tokens, t)
				continue
			}
		case html.CommentToken:
			if strings.HasPrefix(raw, "<!--") {
				continue
			}
		case html.DoctypeToken:
			continue
		}
		tokens = append(tokens, token{text: decodeEntities(raw)})
	}
}

// parseTag returns false for names that HTML does not define, as in <your name>, and for
// comparisons, as in a<b and c>d.
func parseTag(z *html.Tokenizer, kind html.TokenType, raw string) (token, bool) {
	name, hasAttr := z.TagName()
	t := token{tag: string(name), isEnd: kind == html.EndTagToken}
	if !knownTags[t.tag] && !strings.Contains(t.tag, ":") {
		return t, false
	}
	if hasAttr && !strings.Contains(raw, "=") && !t.isEnd {
		return t, false
	}
	t.attrs = map[string]string{}
	for hasAttr {
		var key, value []byte
		key, value, hasAttr = z.TagAttr()
		t.attrs[string(key)] = string(value)
	}
	return t, true
}

func hasBlocks(tokens []token) bool {
	for _, t := range tokens {
		if blockTags[t.tag] || t.tag == "br" {
			return true
		}
	}
	return false
}

var entityPattern = regexp.MustCompile(`&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});`)

// decodeEntities decodes entities that end in a semicolon. Others may be parameters of a URL.
func decodeEntities(text string) string {
	return sanitize(entityPattern.ReplaceAllStringFunc(text, html.UnescapeString))
}

// textWriter writes tokens as lines of text.
type textWriter struct {
	out     strings.Builder
	reflows bool   // line breaks of the source become spaces; only blocks break lines
	hidden  string // the tag whose content is skipped
	pre     int    // the number of open pre elements
	links   []link // the open links
}

type link struct {
	url   string
	start int // the offset of its text
}

func (w *textWriter) add(t token) {
	switch {
	case w.hidden != "":
		if t.isEnd && t.tag == w.hidden {
			w.hidden = ""
		}
	case t.tag == "":
		w.addText(t.text)
	case hiddenTags[t.tag]:
		if !t.isEnd {
			w.hidden = t.tag
		}
	case t.tag == "br":
		w.out.WriteByte('\n')
	case t.tag == "a":
		w.addLink(t)
	case t.tag == "img" && t.attrs["alt"] != "":
		w.addText(sanitize(t.attrs["alt"]))
	case t.tag == "li" && !t.isEnd:
		w.startLine()
		w.out.WriteString("- ")
	case (t.tag == "td" || t.tag == "th") && t.isEnd:
		w.out.WriteByte('\t')
	case t.tag == "pre":
		w.startLine()
		if t.isEnd {
			w.pre = max(w.pre-1, 0)
		} else {
			w.pre++
		}
	case blockTags[t.tag]:
		w.startLine()
	}
}

func (w *textWriter) addText(text string) {
	if !w.reflows || w.pre > 0 {
		w.out.WriteString(text)
		return
	}
	words := strings.Join(strings.FieldsFunc(text, isHTMLSpace), " ")
	if words == "" {
		words = " "
	} else {
		if isHTMLSpace(rune(text[0])) {
			words = " " + words
		}
		if isHTMLSpace(rune(text[len(text)-1])) {
			words += " "
		}
	}
	if w.isAtLineStart() || strings.HasSuffix(w.out.String(), " ") {
		words = strings.TrimLeft(words, " ")
	}
	w.out.WriteString(words)
}

// isHTMLSpace reports whether r is white space that HTML collapses. A non-breaking space is not.
func isHTMLSpace(r rune) bool {
	return r == ' ' || r == '\n' || r == '\t' || r == '\r' || r == '\f'
}

func (w *textWriter) isAtLineStart() bool {
	return w.out.Len() == 0 || strings.HasSuffix(w.out.String(), "\n") || strings.HasSuffix(w.out.String(), "\n- ")
}

// startLine ends the current line unless it is empty.
func (w *textWriter) startLine() {
	if !w.isAtLineStart() {
		w.out.WriteByte('\n')
	}
}

func (w *textWriter) addLink(t token) {
	if !t.isEnd {
		w.links = append(w.links, link{url: strings.TrimSpace(sanitize(t.attrs["href"])), start: w.out.Len()})
		return
	}
	if len(w.links) == 0 {
		return
	}
	last := w.links[len(w.links)-1]
	w.links = w.links[:len(w.links)-1]
	text := strings.TrimSpace(w.out.String()[last.start:])
	isLong := len(text) > 4*len(last.url)+64 // such a text is not the URL, and normalizing it would be expensive
	switch url := normalizeURL(last.url); {
	case url == "", !isLong && url == normalizeURL(text):
	case text == "":
		w.out.WriteString(last.url)
	default:
		w.out.WriteString(" (" + strings.TrimPrefix(strings.TrimPrefix(last.url, "mailto:"), "tel:") + ")")
	}
}

// normalizeURL returns a URL without its scheme, case and final slash, for comparison with a link's
// text. It is empty if the URL leads to no other page.
func normalizeURL(url string) string {
	url = strings.ToLower(url)
	if strings.HasPrefix(url, "#") || strings.HasPrefix(url, "javascript:") {
		return ""
	}
	for _, scheme := range []string{"https://", "http://", "mailto:", "tel:"} {
		url = strings.TrimPrefix(url, scheme)
	}
	return strings.TrimSuffix(url, "/")
}

// trimLines removes trailing spaces, and all but one of consecutive blank lines.
func trimLines(text string) string {
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

var knownTags = union(hiddenTags, blockTags, set(`a abbr acronym area audio b base basefont bdi bdo big br button canvas
	cite code col colgroup data datalist del dfn em embed font frame frameset head i img input ins kbd label legend link
	map mark menu meta meter nobr noframes optgroup option output param picture progress q rp rt ruby s samp small source
	span strike strong sub sup td th time track tt u var video wbr`))

func union(sets ...map[string]bool) map[string]bool {
	all := map[string]bool{}
	for _, s := range sets {
		maps.Copy(all, s)
	}
	return all
}
