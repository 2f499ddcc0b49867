package llm

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"parley/internal/bot"
)

// Responses are read here and not by github.com/openai/openai-go. Its decoder (v3.96.0) accepts a
// stream that breaks off, a JSON document and a JSON error, all with status 200, as complete
// replies, and loses a final event without an empty line after it. Real servers send each of these.

const (
	// maxLine bounds an event, or a document that is sent instead of a stream, in bytes.
	maxLine = 1 << 20
	// maxStream bounds a whole response, reasoning and other extras included.
	maxStream = 32 << 20
	// maxReply bounds the text of a reply. A longer reply is cut off with the finish reason length.
	maxReply = 256 << 10
)

var (
	errLineTooLong = errors.New("the response has a line that is too long")
	errTruncated   = errors.New("the stream ended before the reply did")
)

// reportedError is an error that the server sent instead of a reply, or in the middle of it.
type reportedError struct{ codes string }

func (e reportedError) Error() string { return "the server reported an error: " + e.codes }

// completion is the reply of a model server while it is read. Its callbacks are called from the
// reading goroutine.
type completion struct {
	size             int    // of the text so far, in bytes
	finish           string // the server's finish reason, empty until it is sent
	isFull           bool   // the text has reached maxReply
	promptTokens     *int
	completionTokens *int
	cachedTokens     *int
	reasoningTokens  *int
	model            string // as the server names it

	relay    func(chunk json.RawMessage) error // receives the chunks instead of emit; may be nil
	held     []json.RawMessage                 // chunks before the model has begun to reply
	hasBegun bool                              // the reply shows progress

	emit       func(delta string) error
	emitErr    error  // the error of emit
	onProgress func() // called for each event that shows progress on the reply
	onFinish   func() // called when the reply is complete; only the token usage may follow
}

// finishReason returns the finish reason in the API document's terms. A reply that a filter cut
// off, or that ended in a tool call, is complete as far as the asker is concerned: its reason is
// stop.
func (c *completion) finishReason() string {
	if c.isFull || c.finish == "length" {
		return "length"
	}
	return "stop"
}

// addUsage adds the model and the token usage to an answer.
func (c *completion) addUsage(answer *bot.Answer, m bot.Model) {
	answer.Model = cmp.Or(c.model, m.Name)
	answer.PromptTokens, answer.CompletionTokens = c.promptTokens, c.completionTokens
	answer.CachedTokens, answer.ReasoningTokens = c.cachedTokens, c.reasoningTokens
}

// read reads a response to its end. It is an event stream or, from servers that do not stream, a
// JSON document. The first character decides, because content types are unreliable.
func (c *completion) read(body io.Reader) error {
	in := bufio.NewReaderSize(io.LimitReader(body, maxStream), 16<<10)
	first, err := peekNonBlank(in)
	switch {
	case errors.Is(err, io.EOF):
		return errTruncated
	case err != nil:
		return err
	case first == '{' || first == '[':
		return c.readDocument(in)
	}
	return c.readEvents(in)
}

// peekNonBlank skips a byte order mark and white space, and returns the byte that follows.
func peekNonBlank(in *bufio.Reader) (byte, error) {
	if mark, _ := in.Peek(3); string(mark) == "\uFEFF" {
		_, _ = in.Discard(3) // it was peeked
	}
	for {
		first, err := in.Peek(1)
		if err != nil {
			return 0, err
		}
		if !bytes.ContainsAny(first, " \t\r\n") {
			return first[0], nil
		}
		_, _ = in.Discard(1) // it was peeked
	}
}

func (c *completion) readDocument(in io.Reader) error {
	document, err := io.ReadAll(io.LimitReader(in, maxLine+1))
	if err != nil {
		return err
	}
	if len(document) > maxLine {
		return errLineTooLong
	}
	if err := c.addChunk(document); err != nil || c.isFull {
		return err
	}
	if c.finish == "" && c.size == 0 && !c.hasBegun {
		return errTruncated
	}
	return nil
}

// readEvents reads events until the server sends [DONE], or ends the stream after a finish reason.
func (c *completion) readEvents(in *bufio.Reader) error {
	var data []byte
	for {
		line, err := readLine(in)
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
			return c.endOfStream(data, err)
		}
		switch {
		case len(line) == 0:
			if isDone, err := c.addEvent(data); isDone || err != nil {
				return err
			}
			data = data[:0]
		case bytes.HasPrefix(line, []byte("data:")):
			if len(data) > 0 {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(line[len("data:"):], []byte(" "))...)
			if len(data) > maxLine {
				return errLineTooLong
			}
		}
		// Other lines are comments or fields without meaning here.
	}
}

// endOfStream handles the end of the stream, after pending data and with the error of the last
// read. Some servers omit the empty line after the last event, so the pending data is an event too.
// After a finish reason the reply is complete, however the stream ends.
func (c *completion) endOfStream(data []byte, err error) error {
	isDone, lastErr := c.addEvent(data)
	switch {
	case c.emitErr != nil:
		return c.emitErr
	case isDone && lastErr == nil, c.finish != "":
		return nil
	case lastErr != nil:
		return lastErr
	case errors.Is(err, io.EOF):
		return errTruncated
	}
	return err
}

// readLine returns a line without its line ending, which is valid until the next call. At the end
// of the stream it returns the rest with io.EOF.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(long) > maxLine {
				return nil, errLineTooLong
			}
			line, err = in.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// addEvent adds the data of an event. It reports whether the reply needs no further events.
func (c *completion) addEvent(data []byte) (isDone bool, err error) {
	data = bytes.TrimSpace(data)
	switch {
	case len(data) == 0:
		return false, nil
	case string(data) == "[DONE]":
		return true, nil
	}
	if err := c.addChunk(data); err != nil {
		return true, err
	}
	return c.isFull, nil
}

// addChunk adds a chunk, decoded in the fast way if possible.
func (c *completion) addChunk(raw []byte) error {
	if c.relay != nil {
		return c.relayChunk(raw)
	}
	if text, ok := plainDelta(raw); ok {
		c.onProgress()
		return c.addText(text)
	}
	return c.decodeChunk(raw)
}

// chunk is a part of a reply, or a complete one.
type chunk struct {
	Error   json.RawMessage `json:"error"`
	Model   string          `json:"model"`
	Choices []struct {
		Index        int      `json:"index"`
		Delta        *message `json:"delta"`
		Message      *message `json:"message"`
		FinishReason string   `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		PromptTokens     *float64 `json:"prompt_tokens"`
		CompletionTokens *float64 `json:"completion_tokens"`
		PromptDetails    struct {
			CachedTokens *float64 `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
		CompletionDetails struct {
			ReasoningTokens *float64 `json:"reasoning_tokens"`
		} `json:"completion_tokens_details"`
	} `json:"usage"`
}

// message is the model's output in a chunk. Reasoning and tool calls are not part of the reply, but
// show progress on it.
type message struct {
	Content          contentText     `json:"content"`
	ReasoningContent json.RawMessage `json:"reasoning_content"`
	Reasoning        json.RawMessage `json:"reasoning"`
	ToolCalls        json.RawMessage `json:"tool_calls"`
	Refusal          json.RawMessage `json:"refusal"`
}

func (m message) showsProgress() bool {
	isSet := func(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" && string(raw) != `""` }
	return m.Content != "" || isSet(m.ReasoningContent) || isSet(m.Reasoning) || isSet(m.ToolCalls) || isSet(m.Refusal)
}

// contentText is a string, null, or a list of parts whose texts are concatenated.
type contentText string

// UnmarshalJSON implements json.Unmarshaler.
func (t *contentText) UnmarshalJSON(raw []byte) error {
	if len(raw) == 0 || raw[0] != '[' {
		return json.Unmarshal(raw, (*string)(t)) // null leaves it empty
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return err
	}
	var text strings.Builder
	for _, part := range parts {
		text.WriteString(part.Text)
	}
	*t = contentText(text.String())
	return nil
}

// decodeChunk adds any chunk, decoded with encoding/json.
func (c *completion) decodeChunk(raw []byte) error {
	var decoded chunk
	if err := json.Unmarshal(raw, &decoded); err != nil {
		return fmt.Errorf("decode a chunk of %d bytes: %w", len(raw), err)
	}
	if reported := string(decoded.Error); reported != "" && reported != "null" {
		return reportedError{errorCodes(decoded.Error)}
	}
	if decoded.Usage != nil {
		c.promptTokens, c.completionTokens = toCount(decoded.Usage.PromptTokens), toCount(decoded.Usage.CompletionTokens)
		c.cachedTokens, c.reasoningTokens = toCount(decoded.Usage.PromptDetails.CachedTokens), toCount(decoded.Usage.CompletionDetails.ReasoningTokens)
	}
	c.model = cmp.Or(decoded.Model, c.model)
	for _, choice := range decoded.Choices {
		if choice.Index != 0 {
			continue
		}
		for _, m := range []*message{choice.Delta, choice.Message} {
			if m == nil {
				continue
			}
			if m.showsProgress() {
				c.hasBegun = true
				c.onProgress()
			}
			if c.relay != nil {
				continue
			}
			if err := c.addText(string(m.Content)); err != nil || c.isFull {
				return err
			}
		}
		if choice.FinishReason != "" && c.finish == "" {
			c.finish = choice.FinishReason
			c.onFinish()
		}
	}
	return nil
}

// addText emits the part of a delta that fits into the reply. PostgreSQL cannot store NUL, so it is
// replaced.
func (c *completion) addText(delta string) error {
	delta = strings.ReplaceAll(delta, "\x00", "\ufffd")
	if room := maxReply - c.size; len(delta) > room {
		for room > 0 && !utf8.RuneStart(delta[room]) {
			room--
		}
		delta, c.isFull = delta[:room], true
	}
	if delta == "" {
		return nil
	}
	c.size += len(delta)
	c.emitErr = c.emit(delta)
	return c.emitErr
}

// toCount converts a JSON number to a count, limited to the values that the database can store.
func toCount(n *float64) *int {
	if n == nil || math.IsNaN(*n) {
		return nil
	}
	return new(int(min(max(*n, 0), math.MaxInt32)))
}
