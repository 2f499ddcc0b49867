package bot

import (
	"context"
	"strings"
	"unicode"
)

// EmitText emits a complete text in deltas, the way a model would stream it. It stops early with the error of emit, or
// with context.Cause(ctx) once ctx is done.
func EmitText(ctx context.Context, text string, emit func(delta string) error) error {
	for _, chunk := range chunks(text) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := emit(chunk); err != nil {
			return err
		}
	}
	return nil
}

// The length of a chunk, in grapheme clusters.
const (
	minChunk     = 10
	defaultChunk = 24 // where there is no space or punctuation mark to cut after
	maxChunk     = 40
)

// chunks cuts a text, preferably after a space or a punctuation mark and never inside a grapheme cluster. Concatenated
// they are the text. A text of two clusters or more gives at least two chunks.
func chunks(text string) []string {
	rest := clusters(text)
	limit := maxChunk
	if len(rest) <= defaultChunk {
		limit = (len(rest) + 1) / 2
	}
	var cut []string
	for len(rest) > 0 {
		n := chunkLength(rest, limit)
		cut = append(cut, strings.Join(rest[:n], ""))
		rest = rest[n:]
	}
	return cut
}

// chunkLength returns how many clusters the next chunk takes: up to the last space or punctuation mark within the limit.
func chunkLength(rest []string, limit int) int {
	if len(rest) <= limit {
		return len(rest)
	}
	for n := limit; n >= min(minChunk, limit/2+1); n-- {
		last := []rune(rest[n-1])[0]
		if unicode.IsSpace(last) || unicode.IsPunct(last) {
			return n
		}
	}
	return min(defaultChunk, limit)
}

// maxCluster is the number of runes after which a cluster is cut anyway.
const maxCluster = 16

// clusters cuts a text into approximate grapheme clusters: a rune with the marks, joiners and modifiers that follow it.
func clusters(text string) []string {
	var found []string
	start, joined, length := 0, false, 0
	for i, r := range text {
		follows := joined || unicode.IsMark(r) || r == '\u200d' || r >= 0x1f3fb && r <= 0x1f3ff || r >= 0xe0020 && r <= 0xe007f
		if i > start && (!follows || length >= maxCluster) {
			found = append(found, text[start:i])
			start, length = i, 0
		}
		joined = r == '\u200d'
		length++
	}
	if start < len(text) {
		found = append(found, text[start:])
	}
	return found
}
