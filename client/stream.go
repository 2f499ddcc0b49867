package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	api "parley/gen/client"
)

// Event is an event of a streamed reply.
type Event struct {
	api.CompletionEvent
	// ID is the position in the reply. RunEvents resumes after it.
	ID string `json:"-"`
}

// streamTimeout is how long a stream may be silent before its connection counts as broken: three of
// the comments that the server sends to keep it open.
const streamTimeout = 45 * time.Second

// errTruncated is a stream that ended before the event that is Done.
var errTruncated = errors.New("the stream ended before its last event")

// CompletionEvents asks a chatbot and yields its reply while it is written. The last event is Done.
// If the reply failed, that event comes with its problem as a *ProblemError.
//
// A broken connection is resumed, see the package comment; no text is lost or repeated. An event
// with Reset starts the reply again: its Content is the whole text so far. If the request is
// refused, the only element is a *ProblemError. A request without an Idempotency-Key gets one, so
// that retrying it does not ask twice.
//
// Breaking out of the loop closes the stream; the server finishes the reply all the same.
func (c *Client) CompletionEvents(ctx context.Context, chatbotID api.ChatbotID, params *CreateCompletionParams, body CompletionCreate, editors ...api.RequestEditorFn) iter.Seq2[Event, error] {
	var headers CreateCompletionParams
	if params != nil {
		headers = *params
	}
	if headers.IdempotencyKey == nil {
		headers.IdempotencyKey = new(uuid.NewString())
	}
	body.IsStreaming = new(true)
	return func(yield func(Event, error) bool) {
		s := stream{client: c, editors: editors, yield: yield}
		s.run(ctx, func(ctx context.Context) (*http.Response, error) {
			return c.CreateCompletion(ctx, chatbotID, &headers, body, editors...)
		})
	}
}

// RunEvents yields the reply of a run while it is written: what follows the event whose ID is
// after, or everything if after is empty. It resumes and ends like CompletionEvents. After the last
// event of a reply nothing follows.
func (c *Client) RunEvents(ctx context.Context, runID api.RunID, after string, editors ...api.RequestEditorFn) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		s := stream{client: c, editors: editors, yield: yield, runID: runID, lastID: after}
		s.run(ctx, s.resume)
	}
}

// ReadReply reads a stream to its end. It returns the whole text and the last event, and on an
// error what was received before it.
func ReadReply(events iter.Seq2[Event, error]) (text string, last Event, err error) {
	var reply strings.Builder
	for event, err := range events {
		if event.Reset != nil {
			reply.Reset()
		}
		reply.WriteString(event.Content)
		last = event
		if err != nil {
			return reply.String(), last, err
		}
	}
	return reply.String(), last, nil
}

// stream follows one reply over any number of connections.
type stream struct {
	client  *Client
	editors []api.RequestEditorFn
	yield   func(Event, error) bool
	runID   string // empty until the first answer names it
	lastID  string // of the last event, empty before the first
	backoff
}

// run opens the stream and resumes it until it is complete. While the run is unknown, it repeats
// the first request.
func (s *stream) run(ctx context.Context, open func(context.Context) (*http.Response, error)) {
	for {
		done, err := s.read(ctx, open)
		if done {
			return
		}
		if err = s.wait(ctx, err); err != nil {
			s.yield(Event{}, err)
			return
		}
		if s.runID != "" {
			open = s.resume
		}
	}
}

// resume requests the events after the last one received.
func (s *stream) resume(ctx context.Context) (*http.Response, error) {
	params := &api.StreamRunParams{}
	if s.lastID != "" {
		params.LastEventID = &s.lastID
	}
	return s.client.StreamRun(ctx, s.runID, params, s.editors...)
}

// read yields the events of one connection. It is done after the last event, or when the caller
// breaks out of the loop.
func (s *stream) read(ctx context.Context, open func(context.Context) (*http.Response, error)) (done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timeout := time.AfterFunc(streamTimeout, cancel)
	defer timeout.Stop()
	response, err := open(ctx)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent: // the caller has the last event already
		return true, nil
	default:
		return false, readProblem(response)
	}
	if mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); mediaType != "text/event-stream" {
		s.yield(Event{}, fmt.Errorf("expected an event stream, got Content-Type %q", mediaType))
		return true, nil
	}
	if runID := response.Header.Get("X-Run-Id"); runID != "" {
		s.runID = runID
	}
	lines := bufio.NewReader(response.Body)
	for {
		event, err := readEvent(lines, func() { timeout.Reset(streamTimeout) })
		if errors.Is(err, io.EOF) {
			return false, errTruncated
		}
		if err != nil {
			return false, err
		}
		s.reset()
		s.runID, s.lastID = event.RunID.String(), event.ID
		var failure error
		if event.Error != nil {
			failure = &ProblemError{Problem: *event.Error}
		}
		if !s.yield(event, failure) || event.Done {
			return true, nil
		}
	}
}

// readEvent returns the next complete event and skips comments. It calls received after each line.
func readEvent(lines *bufio.Reader, received func()) (Event, error) {
	var event Event
	var data []byte
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return event, err // a truncated event is dropped; the resumed stream repeats it
		}
		received()
		text := strings.TrimRight(string(line), "\r\n")
		field, value, _ := strings.Cut(text, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case text == "" && data != nil:
			if err := json.Unmarshal(data, &event.CompletionEvent); err != nil {
				return event, fmt.Errorf("decode an event: %w", err)
			}
			return event, nil
		case field == "id":
			event.ID = value
		case field == "data":
			data = append(data, value...)
		}
	}
}
