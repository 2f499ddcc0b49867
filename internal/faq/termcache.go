package faq

import "sync"

// maxRemembered bounds the bytes of the texts whose terms are remembered; the terms take
// some thirty times as many.
const maxRemembered = 1 << 20

// termCache keeps the terms of entries that were compared, by their texts: the same
// few entries are near to most questions, and cutting them takes longer than comparing.
// It is safe for concurrent use, and its zero value is empty.
type termCache struct {
	mu     sync.Mutex
	byText map[string]cutText
	bytes  int
}

// cutText is a text cut for comparing it. Nobody changes it.
type cutText struct {
	terms []term
	set   map[string]bool // of the terms' texts
}

// read cuts a text, or remembers how it was cut.
func (r *termCache) read(text string) cutText {
	r.mu.Lock()
	known, ok := r.byText[text]
	r.mu.Unlock()
	if ok {
		return known
	}
	terms := readTerms(text)
	cut := cutText{terms: terms, set: textsOf(terms)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byText == nil || r.bytes+len(text) > maxRemembered {
		r.byText, r.bytes = make(map[string]cutText), 0 // what is asked about often is soon there again
	}
	if _, ok := r.byText[text]; !ok {
		r.byText[text] = cut
		r.bytes += len(text)
	}
	return cut
}
