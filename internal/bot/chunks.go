package bot

import (
	"context"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
)

// EmitText emits a complete text in deltas, the way a model would stream it. It stops early with
// the error of emit, or with context.Cause(ctx) once ctx is done.
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

// chunks cuts a text, preferably after a space or a punctuation mark and never inside a grapheme
// cluster. Concatenated they are the text. A text of two clusters or more gives at least two
// chunks.
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

// chunkLength returns how many clusters the next chunk takes: up to the last space or punctuation
// mark within the limit.
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

// clusters cuts a text into grapheme clusters, the characters that a reader sees.
func clusters(text string) []string {
	var found []string
	for cluster, state := "", -1; text != ""; {
		cluster, text, _, state = uniseg.FirstGraphemeClusterInString(text, state)
		found = append(found, cluster)
	}
	return found
}
