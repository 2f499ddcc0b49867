package eventstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"parley/internal/jsontext"
)

const (
	// WriteTimeout is the maximum duration of a write. After it, the client is disconnected.
	WriteTimeout = 30 * time.Second
	// deadlineSlack is the age at which the write deadline is renewed.
	deadlineSlack = 5 * time.Second
)

// Writer writes server-sent events to one client. It is not safe for concurrent use.
type Writer struct {
	w          http.ResponseWriter
	controller *http.ResponseController
	deadline   time.Time // the write deadline that is set
	buffer     []byte    // reused by WriteText
}

// NewWriter begins an event stream. The headers are sent with the first event.
func NewWriter(w http.ResponseWriter) Writer {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return Writer{w: w, controller: http.NewResponseController(w)}
}

// Write writes an event with one data line, after the lines before it.
func (e *Writer) Write(before string, event any) error {
	data, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	return e.Print([]byte(before + "data: " + string(jsontext.EscapeNextLine(data)) + "\n\n"))
}

// Frame is the constant JSON around the text of an event. It is encoded once for all deltas of a stream.
type Frame struct{ before, after []byte }

// NewFrame returns the frame of an event, whose content must be the empty string.
func NewFrame(event any) (Frame, error) {
	data, err := json.Marshal(event)
	if err != nil {
		return Frame{}, fmt.Errorf("encode the frame of events: %w", err)
	}
	data = jsontext.EscapeNextLine(data)
	const empty = `"content":""`
	at := bytes.Index(data, []byte(empty)) // cannot match inside a string, whose quotes are escaped
	if at < 0 {
		return Frame{}, fmt.Errorf("an event has no content: %s", data)
	}
	at += len(empty) - len(`""`)
	return Frame{before: data[:at], after: data[at+len(`""`):]}, nil
}

// WriteText writes an event with text in a frame, after the lines before it.
func (e *Writer) WriteText(before string, frame Frame, text string) error {
	event := append(append(e.buffer[:0], before...), "data: "...)
	event = jsontext.AppendString(append(event, frame.before...), text)
	e.buffer = append(append(event, frame.after...), "\n\n"...)
	return e.Print(e.buffer)
}

// Comment writes a comment, which keeps idle connections open.
func (e *Writer) Comment() error { return e.Print([]byte(": still here\n\n")) }

// Print writes an encoded event. The write deadline is renewed only when it is older than
// deadlineSlack, which saves a timer for most tokens.
func (e *Writer) Print(event []byte) error {
	if now := time.Now(); e.deadline.Sub(now) < WriteTimeout-deadlineSlack {
		e.deadline = now.Add(WriteTimeout)
		if err := e.controller.SetWriteDeadline(e.deadline); err != nil {
			return fmt.Errorf("set the write deadline of a stream: %w", err)
		}
	}
	_, err := e.w.Write(event)
	return err
}

// Flush sends what was written.
func (e *Writer) Flush() error { return e.controller.Flush() }
