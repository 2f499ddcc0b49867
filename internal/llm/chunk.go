package llm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// chunk is a part of a reply, or a complete one. Its fields are decoded one by one, so that an unexpected type in an
// irrelevant field does not fail the reply.
type chunk struct {
	Error   json.RawMessage `json:"error"`
	Object  json.RawMessage `json:"object"`
	Type    json.RawMessage `json:"type"`
	Model   json.RawMessage `json:"model"`
	Choices json.RawMessage `json:"choices"`
	Usage   json.RawMessage `json:"usage"`
	XGroq   json.RawMessage `json:"x_groq"`
}

type choice struct {
	Index        json.RawMessage `json:"index"`
	Delta        json.RawMessage `json:"delta"`
	Message      json.RawMessage `json:"message"`
	Text         json.RawMessage `json:"text"`
	FinishReason json.RawMessage `json:"finish_reason"`
	Error        json.RawMessage `json:"error"`
}

// message is the model's output in a chunk. Reasoning and tool calls are not part of the reply, but
// show progress on it. A refusal is what the model says instead of content.
type message struct {
	Content          json.RawMessage `json:"content"`
	Refusal          json.RawMessage `json:"refusal"`
	ReasoningContent json.RawMessage `json:"reasoning_content"`
	Reasoning        json.RawMessage `json:"reasoning"`
	ToolCalls        json.RawMessage `json:"tool_calls"`
	FunctionCall     json.RawMessage `json:"function_call"`
}

func (m message) hasText() bool   { return isSet(m.Content) || isSet(m.Refusal) }
func (m message) callsTool() bool { return isSet(m.ToolCalls) || isSet(m.FunctionCall) }
func (m message) showsProgress() bool {
	return m.hasText() || m.callsTool() || isSet(m.ReasoningContent) || isSet(m.Reasoning)
}

// isSet reports whether a field has a value other than null and the empty string.
func isSet(raw json.RawMessage) bool {
	switch string(raw) {
	case "", "null", `""`, "[]", "{}", "false":
		return false
	}
	return true
}

// decode decodes a value, or leaves the zero value if it has another type.
func decode[T any](raw json.RawMessage) (value T) {
	if json.Unmarshal(raw, &value) != nil {
		return *new(T)
	}
	return value
}

// decodeChunk adds any chunk, decoded with encoding/json.
func (c *completion) decodeChunk(raw []byte) error {
	if list := decode[[]json.RawMessage](raw); len(list) > 0 {
		raw = list[0] // some servers wrap an error in a list
	}
	var decoded chunk
	if err := json.Unmarshal(raw, &decoded); err != nil {
		return fmt.Errorf("decode a chunk of %d bytes: %w", len(raw), err)
	}
	if isSet(decoded.Error) || string(decoded.Object) == `"error"` || string(decoded.Type) == `"error"` {
		return reportedError{newReport(0, raw)}
	}
	c.usage.add(decoded.Usage)
	c.usage.add(decode[chunk](decoded.XGroq).Usage)
	if model := storable(decode[string](decoded.Model)); model != "" && len(model) <= maxModelName {
		c.model = model
	}
	for _, item := range decode[[]json.RawMessage](decoded.Choices) {
		if err := c.addChoice(item); err != nil || c.isFull {
			return err
		}
	}
	return nil
}

// maxModelName bounds the name of the model that is stored with a reply, in bytes.
const maxModelName = 500

func (c *completion) addChoice(raw json.RawMessage) error {
	item := decode[*choice](raw)
	if item == nil || !isFirst(item.Index) {
		return nil
	}
	if isSet(item.Error) {
		return reportedError{newReport(0, raw)}
	}
	c.hasChoice = true
	delta, whole := decode[message](item.Delta), decode[message](item.Message)
	c.callsTool = c.callsTool || delta.callsTool() || whole.callsTool()
	if delta.showsProgress() || whole.showsProgress() || isSet(item.Text) {
		c.hasBegun = true
		c.onProgress()
	}
	if c.relay == nil {
		if err := c.addText(c.textOf(delta, whole, item.Text)); err != nil || c.isFull {
			return err
		}
	}
	if reason := meaningOf(item.FinishReason); reason != "" {
		c.finish = reason
		c.onFinish()
	}
	return nil
}

// isFirst reports whether an index is that of the first choice, in any notation.
func isFirst(index json.RawMessage) bool {
	n, err := strconv.ParseFloat(strings.Trim(string(index), `"`), 64)
	return err != nil || n == 0
}

// The fields of a choice that may contain its text. Some servers repeat the text in several of them.
const (
	fromDeltas   = "delta"
	fromMessages = "message"
	fromTexts    = "text"
)

// textOf returns the text that a choice adds to the reply.
func (c *completion) textOf(delta, whole message, text json.RawMessage) string {
	isFrom := func(source string) bool { return c.source == "" || c.source == source }
	switch {
	case delta.hasText() && isFrom(fromDeltas):
		c.source = fromDeltas
		return c.messageText(delta)
	case whole.hasText() && isFrom(fromMessages):
		c.source = fromMessages
		return c.unsaid(c.messageText(whole))
	case isSet(text) && isFrom(fromTexts):
		c.source = fromTexts
		return c.content(text)
	}
	return ""
}

func (c *completion) messageText(m message) string {
	return c.content(m.Content) + c.content(m.Refusal)
}

// unsaid returns the part of a message that the text so far lacks. Some servers send the whole text in every chunk.
func (c *completion) unsaid(text string) string {
	if added, isWhole := strings.CutPrefix(text, c.said); isWhole && c.said != "" {
		c.said = text
		return added
	}
	c.said += text
	return text
}

// content returns the text of a content, which is a string or a list of parts. Parts with reasoning are left out.
func (c *completion) content(raw json.RawMessage) string {
	if !isSet(raw) {
		return ""
	}
	switch raw[0] {
	case '"':
		return c.unquote(raw)
	case '{':
		return c.part(raw)
	case '[':
		var text strings.Builder
		for _, item := range decode[[]json.RawMessage](raw) {
			if item[0] == '"' {
				text.WriteString(c.unquote(item))
			} else {
				text.WriteString(c.part(item))
			}
		}
		return text.String()
	}
	return string(raw)
}

func (c *completion) part(raw json.RawMessage) string {
	part := decode[struct{ Type, Text, Refusal json.RawMessage }](raw)
	kind := decode[string](part.Type)
	if strings.Contains(kind, "think") || strings.Contains(kind, "reason") {
		return ""
	}
	text := part.Text
	if isSet(part.Refusal) {
		text = part.Refusal
	}
	if nested := decode[struct{ Value json.RawMessage }](text); isSet(nested.Value) {
		text = nested.Value
	}
	if len(text) == 0 || text[0] != '"' {
		return ""
	}
	return c.unquote(text)
}

// unquote decodes a JSON string. Servers split characters over chunks: an incomplete character at the end is kept for
// the next chunk.
func (c *completion) unquote(literal json.RawMessage) string {
	inside := append(c.partial, literal[1:len(literal)-1]...)
	end := incompleteTail(inside)
	c.partial = bytes.Clone(inside[end:])
	return decode[string](append(append([]byte{'"'}, inside[:end]...), '"'))
}

// incompleteTail returns where an incomplete character at the end of a JSON string begins: an
// escaped high surrogate, or some bytes of a UTF-8 sequence.
func incompleteTail(inside []byte) int {
	const escape = len(`\ud83d`)
	if n := len(inside) - escape; n >= 0 && inside[n] == '\\' && inside[n+1] == 'u' {
		unit, err := strconv.ParseUint(string(inside[n+2:]), 16, 16)
		before := len(inside[:n]) - len(bytes.TrimRight(inside[:n], `\`))
		if err == nil && unit >= 0xD800 && unit < 0xDC00 && before%2 == 0 {
			return n
		}
	}
	for n := len(inside) - 1; n >= max(len(inside)-utf8.UTFMax+1, 0); n-- {
		if utf8.RuneStart(inside[n]) {
			if !utf8.FullRune(inside[n:]) {
				return n
			}
			break
		}
	}
	return len(inside)
}

// storable replaces NUL, which PostgreSQL cannot store.
func storable(text string) string { return strings.ReplaceAll(text, "\x00", "\ufffd") }

// usage is the number of tokens that a server reports, nil where it reports none.
type usage struct{ prompt, completion, cached, reasoning *int }

// add adds the numbers that a server reports, under any of the names in use. Later reports replace earlier ones.
func (u *usage) add(raw json.RawMessage) {
	if !isSet(raw) {
		return
	}
	fields := decode[map[string]json.RawMessage](raw)
	find := func(within map[string]json.RawMessage, count **int, names ...string) {
		for _, name := range names {
			if n := toCount(within[name]); n != nil {
				*count = n
				return
			}
		}
	}
	find(fields, &u.prompt, "prompt_tokens", "input_tokens")
	find(fields, &u.completion, "completion_tokens", "output_tokens")
	find(fields, &u.cached, "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
	find(fields, &u.reasoning, "reasoning_tokens")
	for _, name := range []string{"prompt_tokens_details", "input_tokens_details"} {
		find(decode[map[string]json.RawMessage](fields[name]), &u.cached, "cached_tokens")
	}
	for _, name := range []string{"completion_tokens_details", "output_tokens_details"} {
		find(decode[map[string]json.RawMessage](fields[name]), &u.reasoning, "reasoning_tokens")
	}
	if total := toCount(fields["total_tokens"]); total != nil && u.prompt != nil && u.completion == nil {
		u.completion = new(max(*total-*u.prompt, 0))
	}
}

// toCount converts a number, which may be in quotes, to a count, limited to the values that the
// database can store. It returns nil for anything else.
func toCount(raw json.RawMessage) *int {
	n, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
	if math.IsNaN(n) || err != nil && !math.IsInf(n, 0) {
		return nil
	}
	return new(int(min(max(n, 0), math.MaxInt32)))
}
