package llm

import (
	"strings"
	"unicode/utf8"
)

// block is a notation for reasoning in the text.
type block struct {
	opening string
	closing string // empty: the opening tag with a slash after its first character
}

// blocks are the notations that models use, matched without regard to case.
var blocks = []block{
	{"<think>", ""},
	{"<thinking>", ""},
	{"<thought>", ""},
	{"<reasoning>", ""},
	{"<reflection>", ""},
	{"<seed:think>", ""},
	{"[think]", ""},
	{"◁think▷", ""},
	{"<|channel|>analysis<|message|>", "<|channel|>final<|message|>"},
}

// reasoning removes the blocks of reasoning at the beginning of a text that arrives in deltas. A
// block without an end is reasoning to the end of the text. Later blocks are part of the reply.
type reasoning struct {
	isOver   bool   // the reply has begun
	held     string // text that may be reasoning or the reply
	closing  string // the tag that ends the current block; empty outside of blocks
	hasBlock bool
}

// strip returns the part of the text so far that belongs to the reply and was not returned before.
func (r *reasoning) strip(delta string) string {
	if r.isOver || delta == "" {
		return delta
	}
	r.held += delta
	for {
		if r.closing != "" {
			_, after, isClosed := strings.Cut(r.held, r.closing)
			if !isClosed {
				r.held = r.held[max(len(r.held)-len(r.closing)+1, 0):]
				return ""
			}
			r.held, r.closing, r.hasBlock = after, "", true
		}
		text := strings.TrimLeft(r.held, " \t\r\n")
		if r.hasBlock {
			r.held = text
		}
		switch opening, closing, isPossible := openingOf(text); {
		case opening != "":
			r.held, r.closing = text[len(opening):], closing
		case isPossible:
			return ""
		default:
			r.isOver = true
			return r.held
		}
	}
}

// end returns the text that was held back at the end. White space alone is dropped.
func (r *reasoning) end() string {
	if r.isOver || r.closing != "" || strings.TrimSpace(r.held) == "" {
		return ""
	}
	r.isOver = true
	return r.held
}

// openingOf returns the tag that a text begins with and the one that ends its block, or reports
// whether the text may be the beginning of one.
func openingOf(text string) (opening, closing string, isPossible bool) {
	for _, b := range blocks {
		n := min(len(text), len(b.opening))
		if !strings.EqualFold(text[:n], b.opening[:n]) {
			continue
		}
		if n < len(b.opening) {
			isPossible = true
			continue
		}
		if b.closing != "" {
			return text[:n], b.closing, true
		}
		_, mark := utf8.DecodeRuneInString(text)
		return text[:n], text[:mark] + "/" + text[mark:n], true
	}
	return "", "", isPossible
}
