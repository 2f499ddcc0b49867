package llm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// The stream is read here and not by github.com/openai/openai-go: its decoder (v3.96.0) takes a stream that breaks off,
// a JSON document and a JSON error, all answered with 200, for replies that ended well, and it loses a last event that
// no empty line follows. Each of these is the habit of some server.

const (
	// maxLine bounds an event, or a document that comes instead of a stream.
	maxLine = 1 << 20
	// maxStream bounds all that is read of an answer, reasoning and other extras included.
	maxStream = 32 << 20
	// maxReply bounds the text of a reply: beyond it the reply ends with the reason length.
	maxReply = 256 << 10
)

var (
	errTooBig    = errors.New("the answer has a line that is too long")
	errBrokenOff = errors.New("the stream ended before the reply did")
)

// errReported is an error that the server told in place of an answer, or in the middle of it.
type errReported struct{ codes string }

func (e errReported) Error() string { return "the server reports an error: " + e.codes }

// completion is a reply as it is read.
type completion struct {
	size             int    // of the text, in bytes
	finish           string // the server's reason, empty until it told one
	isFull           bool
	promptTokens     *int
	completionTokens *int

	emit    func(delta string) error
	heard   func() // is called at each event that says something
	ending  func() // is called when the reply is complete and only the usage may follow
	emitErr error
}

// finishReason is the contract's word for how the reply ended. Only a reply that ran out of room ended by length. One
// that a filter cut off, or that wanted to call a tool, is all that there will be of it: it ended by stop.
func (c *completion) finishReason() string {
	if c.isFull || c.finish == "length" {
		return "length"
	}
	return "stop"
}

// read reads an answer to its end. It is an event stream, or, where a server does not stream, one JSON document: the
// first character tells, whatever the content type says.
func (c *completion) read(body io.Reader) error {
	in := bufio.NewReaderSize(io.LimitReader(body, maxStream), 16<<10)
	first, err := skipBlank(in)
	switch {
	case errors.Is(err, io.EOF):
		return errBrokenOff
	case err != nil:
		return err
	case first == '{' || first == '[':
		return c.readDocument(in)
	}
	return c.readEvents(in)
}

// skipBlank skips white space, and the byte order mark that an event stream may begin with.
func skipBlank(in *bufio.Reader) (byte, error) {
	if mark, _ := in.Peek(3); string(mark) == "\uFEFF" {
		_, _ = in.Discard(3) // it is there
	}
	for {
		first, err := in.Peek(1)
		if err != nil {
			return 0, err
		}
		if !bytes.ContainsAny(first, " \t\r\n") {
			return first[0], nil
		}
		_, _ = in.Discard(1) // it is there
	}
}

func (c *completion) readDocument(in io.Reader) error {
	whole, err := io.ReadAll(io.LimitReader(in, maxLine+1))
	if err != nil {
		return err
	}
	if len(whole) > maxLine {
		return errTooBig
	}
	if err := c.take(whole); err != nil || c.isFull {
		return err
	}
	if c.finish == "" && c.size == 0 {
		return errBrokenOff
	}
	return nil
}

// readEvents reads until the server says [DONE], or ends the stream after it has said why the reply ends.
func (c *completion) readEvents(in *bufio.Reader) error {
	var data []byte
	for {
		line, err := readLine(in)
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
			// What the stream ends with is an event too, for servers that forget the empty line. A reply whose reason to end
			// was told is complete, however the stream ends.
			isOver, lastErr := c.event(data)
			switch {
			case c.emitErr != nil:
				return c.emitErr
			case isOver && lastErr == nil, c.finish != "":
				return nil
			case lastErr != nil:
				return lastErr
			case errors.Is(err, io.EOF):
				return errBrokenOff
			}
			return err
		}
		switch {
		case len(line) == 0:
			if isOver, err := c.event(data); isOver || err != nil {
				return err
			}
			data = data[:0]
		case bytes.HasPrefix(line, []byte("data:")):
			if len(data) > 0 {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(line[len("data:"):], []byte(" "))...)
			if len(data) > maxLine {
				return errTooBig
			}
		}
		// All else is a comment, or a field that says nothing here.
	}
}

// readLine returns a line without its end. It holds until the next call. At the end of the stream comes what is left,
// with io.EOF.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(long) > maxLine {
				return nil, errTooBig
			}
			line, err = in.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// event takes what one event holds; isOver when nothing follows.
func (c *completion) event(data []byte) (isOver bool, err error) {
	data = bytes.TrimSpace(data)
	switch {
	case len(data) == 0:
		return false, nil
	case string(data) == "[DONE]":
		return true, nil
	}
	if err := c.take(data); err != nil {
		return true, err
	}
	return c.isFull, nil
}

// chunk is a part of an answer, or a whole one.
type chunk struct {
	Error   json.RawMessage `json:"error"`
	Choices []struct {
		Index        int     `json:"index"`
		Delta        *saying `json:"delta"`
		Message      *saying `json:"message"`
		FinishReason string  `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		PromptTokens     *float64 `json:"prompt_tokens"`
		CompletionTokens *float64 `json:"completion_tokens"`
	} `json:"usage"`
}

// saying is what a model says in a chunk. Reasoning and calls of tools are not part of the reply, but show that it is
// being worked on.
type saying struct {
	Content          contentText     `json:"content"`
	ReasoningContent json.RawMessage `json:"reasoning_content"`
	Reasoning        json.RawMessage `json:"reasoning"`
	ToolCalls        json.RawMessage `json:"tool_calls"`
}

func (s saying) isSign() bool {
	isSaid := func(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" && string(raw) != `""` }
	return s.Content != "" || isSaid(s.ReasoningContent) || isSaid(s.Reasoning) || isSaid(s.ToolCalls)
}

// contentText is a text, null, or the texts of a list of parts.
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

// take takes what a chunk says.
func (c *completion) take(raw []byte) error {
	if text, isPlain := plainDelta(raw); isPlain {
		c.heard()
		return c.say(text)
	}
	return c.takeAny(raw)
}

// takeAny takes what a chunk says, whatever it is like.
func (c *completion) takeAny(raw []byte) error {
	var said chunk
	if err := json.Unmarshal(raw, &said); err != nil {
		return fmt.Errorf("read a chunk of %d bytes: %w", len(raw), err)
	}
	if reported := string(said.Error); reported != "" && reported != "null" {
		return errReported{codesOf(said.Error)}
	}
	if said.Usage != nil {
		c.promptTokens, c.completionTokens = toCount(said.Usage.PromptTokens), toCount(said.Usage.CompletionTokens)
	}
	for _, choice := range said.Choices {
		if choice.Index != 0 {
			continue
		}
		for _, one := range []*saying{choice.Delta, choice.Message} {
			if one == nil {
				continue
			}
			if one.isSign() {
				c.heard()
			}
			if err := c.say(string(one.Content)); err != nil || c.isFull {
				return err
			}
		}
		if choice.FinishReason != "" && c.finish == "" {
			c.finish = choice.FinishReason
			c.ending()
		}
	}
	return nil
}

// say hands a piece of the reply on, as far as there is room for it. PostgreSQL has no place for a NUL.
func (c *completion) say(piece string) error {
	piece = strings.ReplaceAll(piece, "\x00", "\ufffd")
	if room := maxReply - c.size; len(piece) > room {
		for room > 0 && !utf8.RuneStart(piece[room]) {
			room--
		}
		piece, c.isFull = piece[:room], true
	}
	if piece == "" {
		return nil
	}
	c.size += len(piece)
	c.emitErr = c.emit(piece)
	return c.emitErr
}

func toCount(n *float64) *int {
	if n == nil || math.IsNaN(*n) {
		return nil
	}
	return new(int(min(max(*n, 0), math.MaxInt32)))
}
