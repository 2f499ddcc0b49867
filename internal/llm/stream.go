package llm

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
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
	errNoChoice    = errors.New("the response has no choice")
	errToolCall    = errors.New("the reply is a tool call without text")
)

// completion is the reply of a model server while it is read. Its callbacks are called from the
// reading goroutine.
type completion struct {
	size      int     // of the text so far, in bytes
	hasChoice bool    // the response has a choice, so that it is a reply
	callsTool bool    // the reply contains a tool call
	finish    meaning // of the latest finish reason, empty until one is sent
	isFull    bool    // the text has reached maxReply
	model     string  // as the server names it; empty if unknown
	usage     usage   // as far as it is known
	source    string  // the field that the text is taken from, empty before the text
	said      string  // the text so far, if it is taken from complete messages
	partial   []byte  // the beginning of a character whose end the next chunk has, as JSON
	reasoning reasoning

	relay    func(chunk json.RawMessage) error // receives the chunks instead of emit; may be nil
	held     []json.RawMessage                 // chunks before the model has begun to reply
	hasBegun bool                              // the reply shows progress

	emit       func(delta string) error
	emitErr    error  // the error of emit
	onProgress func() // called for each event that shows progress on the reply
	onFinish   func() // called when the reply is complete; only the token usage may follow
}

// finishReason returns the finish reason in the API document's terms. A text that ended in a tool call counts as
// complete.
func (c *completion) finishReason() string {
	switch {
	case c.isFull:
		return string(meansLength)
	case c.finish == meansLength, c.finish == meansFiltered:
		return string(c.finish)
	}
	return string(meansStop)
}

// addUsage adds the model and the token usage to an answer.
func (c *completion) addUsage(answer *bot.Answer, m bot.Model) {
	answer.Model = cmp.Or(c.model, m.Name)
	answer.PromptTokens, answer.CompletionTokens = c.usage.prompt, c.usage.completion
	answer.CachedTokens, answer.ReasoningTokens = c.usage.cached, c.usage.reasoning
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
		err = c.readDocuments(in)
	default:
		err = c.readEvents(in)
	}
	if err != nil || c.isFull {
		return err
	}
	return c.end()
}

// end adds the text that was held back, and checks that the response is a reply.
func (c *completion) end() error {
	if len(c.partial) > 0 {
		c.partial = nil
		if err := c.addText("\ufffd"); err != nil {
			return err
		}
	}
	if err := c.write(c.reasoning.end()); err != nil {
		return err
	}
	switch {
	case !c.hasChoice:
		return errNoChoice
	case c.finish == meansFailed:
		return reportedError{report{code: "finish_reason"}}
	case c.relay == nil && c.size == 0 && (c.callsTool || c.finish == meansToolCall):
		return errToolCall
	}
	return nil
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

// readDocuments reads one JSON document, or several that are the chunks of a stream.
func (c *completion) readDocuments(in io.Reader) error {
	documents := json.NewDecoder(io.LimitReader(in, maxLine+1))
	for {
		var document json.RawMessage
		err := documents.Decode(&document)
		switch {
		case documents.InputOffset() > maxLine:
			return errLineTooLong
		case errors.Is(err, io.EOF):
			if c.finish == "" && c.size == 0 && !c.hasBegun {
				return errTruncated
			}
			return nil
		case err != nil:
			return err
		}
		if err := c.addChunk(document); err != nil || c.isFull {
			return err
		}
	}
}

// readEvents reads events until the server sends [DONE], or ends the stream after a finish reason.
func (c *completion) readEvents(in *bufio.Reader) error {
	var data []byte
	isError := false // according to the event's name
	for {
		line, err := readLine(in)
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
			return c.endOfStream(data, err)
		}
		switch {
		case len(line) == 0:
			if isError && len(data) > 0 {
				return reportedError{newReport(0, data)}
			}
			if isDone, err := c.addEvent(data); isDone || err != nil {
				return err
			}
			data, isError = data[:0], false
		case string(line) == "event: error", string(line) == "event:error":
			isError = true
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
	if len(c.partial) == 0 && (c.source == "" || c.source == fromDeltas) {
		if text, ok := plainDelta(raw); ok {
			c.hasChoice, c.source = true, fromDeltas
			c.onProgress()
			return c.addText(text)
		}
	}
	return c.decodeChunk(raw)
}

// addText adds a part of the model's output, which may begin with reasoning.
func (c *completion) addText(delta string) error { return c.write(c.reasoning.strip(delta)) }

// write emits the part of a delta that fits into the reply. PostgreSQL cannot store NUL, so it is
// replaced.
func (c *completion) write(delta string) error {
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
