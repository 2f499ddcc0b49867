package faq

import "sync"

// maxCachedText bounds the texts whose terms are cached, in bytes. The terms take about thirty
// times as much memory.
const maxCachedText = 1 << 20

// termCache caches the comparison terms of questions and answers: the same few FAQs are candidates
// for most questions, and splitting their texts into terms takes longer than comparing the terms. It is safe for concurrent
// use, and its zero value is empty.
type termCache struct {
	mu     sync.Mutex
	byText map[string]cutText
	bytes  int
}

// cutText is the comparison terms of a text. It must not be changed.
type cutText struct {
	terms []term
	texts map[string]bool // the texts of the terms
}

// get returns the comparison terms of a text.
func (c *termCache) get(text string) cutText {
	c.mu.Lock()
	cached, ok := c.byText[text]
	c.mu.Unlock()
	if ok {
		return cached
	}
	terms := comparisonTerms(text)
	cut := cutText{terms: terms, texts: make(map[string]bool, len(terms))}
	for _, t := range terms {
		cut.texts[t.text] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byText == nil || c.bytes+len(text) > maxCachedText {
		c.byText, c.bytes = make(map[string]cutText), 0 // frequent texts are soon cached again
	}
	if _, ok := c.byText[text]; !ok {
		c.byText[text] = cut
		c.bytes += len(text)
	}
	return cut
}
