// Package client is the Go SDK. client.gen.go is made of the OpenAPI document; beside it stand, written by hand, streams
// and sockets that outlive their connections, and refusals as errors.
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
)

// Event is an event of a streamed reply.
type Event struct {
	CompletionEvent
	// ID names the place in the reply: RunEvents goes on after it.
	ID string `json:"-"`
}

// streamSilence is how long a stream may be silent before its connection is taken for dead: three of the comments that
// keep it alive.
const streamSilence = 45 * time.Second

// CompletionEvents asks a chatbot and returns its reply as it is written. It ends with the event that is Done; where the
// reply failed, that event comes with its problem as a *ProblemError.
//
// A connection that breaks is taken up where it was, a few times in a row, with growing pauses; no text is lost or told
// twice. An event with Reset says that the reply began anew: its content is the whole text so far. A request that is
// refused is an error, a *ProblemError, and the only thing that comes. Without an Idempotency-Key in params the request
// gets one, so that it can be repeated without asking twice.
//
// Breaking off the loop ends the stream, not the reply. An http.Client with a Timeout breaks long streams off, which are
// then taken up; better it has none, and ctx bounds the whole.
func (c *ClientWithResponses) CompletionEvents(ctx context.Context, chatbotID ChatbotID, params *CreateCompletionParams, body CompletionCreate, editors ...RequestEditorFn) iter.Seq2[Event, error] {
	if params == nil {
		params = &CreateCompletionParams{}
	}
	if params.IdempotencyKey == nil {
		copied := *params
		copied.IdempotencyKey = new(uuid.NewString())
		params = &copied
	}
	body.IsStreaming = new(true)
	return func(yield func(Event, error) bool) {
		f := following{client: c, editors: editors, yield: yield}
		f.follow(ctx, func(ctx context.Context) (*http.Response, error) {
			return c.CreateCompletion(ctx, chatbotID, params, body, editors...)
		})
	}
}

// RunEvents returns the reply of a run as it is written, from the event after the one that has the ID after, or from the
// beginning where that is empty. It is otherwise as CompletionEvents.
func (c *ClientWithResponses) RunEvents(ctx context.Context, runID RunID, after string, editors ...RequestEditorFn) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := following{client: c, editors: editors, yield: yield, run: runID, last: after}
		f.follow(ctx, f.takeUp)
	}
}

// ReadReply reads a stream to its end and returns the whole text, and the last event.
func ReadReply(events iter.Seq2[Event, error]) (text string, last Event, err error) {
	var said strings.Builder
	for event, err := range events {
		if event.Reset != nil {
			said.Reset()
		}
		said.WriteString(event.Content)
		last = event
		if err != nil {
			return said.String(), last, err
		}
	}
	return said.String(), last, nil
}

// following is a stream that is followed over one connection after the other.
type following struct {
	client  *ClientWithResponses
	editors []RequestEditorFn
	yield   func(Event, error) bool
	run     string // empty until it is known
	last    string // the ID of the last event, empty before the first
	patience
}

var errUnfinished = errors.New("the stream ended before its last event")

// follow opens the stream and takes it up until it is over. Before the run is known the first request is repeated.
func (f *following) follow(ctx context.Context, begin func(context.Context) (*http.Response, error)) {
	open := begin
	for {
		isOver, err := f.listen(ctx, open)
		if isOver {
			return
		}
		if err = f.again(ctx, err); err != nil {
			f.yield(Event{}, err)
			return
		}
		if f.run != "" {
			open = f.takeUp
		}
	}
}

// takeUp asks for what comes after the last event.
func (f *following) takeUp(ctx context.Context) (*http.Response, error) {
	params := &StreamRunParams{}
	if f.last != "" {
		params.LastEventID = &f.last
	}
	return f.client.StreamRun(ctx, f.run, params, f.editors...)
}

// listen passes on what comes over one connection. It is over when the last event has come, or the caller has enough.
func (f *following) listen(ctx context.Context, open func(context.Context) (*http.Response, error)) (isOver bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	isAlive := time.AfterFunc(streamSilence, cancel)
	defer isAlive.Stop()
	response, err := open(ctx)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return false, refusalOf(response)
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind != "text/event-stream" {
		f.yield(Event{}, fmt.Errorf("the answer is no event stream but %q", kind))
		return true, nil
	}
	if run := response.Header.Get("X-Run-Id"); run != "" {
		f.run = run
	}
	lines := bufio.NewReader(response.Body)
	for {
		event, err := nextEvent(lines, func() { isAlive.Reset(streamSilence) })
		if errors.Is(err, io.EOF) {
			return false, errUnfinished
		}
		if err != nil {
			return false, err
		}
		f.progressed()
		f.run, f.last = event.RunID.String(), event.ID
		var failure error
		if event.Error != nil {
			failure = &ProblemError{Problem: *event.Error}
		}
		if !f.yield(event, failure) || event.Done {
			return true, nil
		}
	}
}

// nextEvent reads an event to its end, and passes over comments.
func nextEvent(lines *bufio.Reader, heard func()) (Event, error) {
	var event Event
	var data []byte
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return event, err // of an event that is cut off nothing is told
		}
		heard()
		text := strings.TrimRight(string(line), "\r\n")
		field, value, _ := strings.Cut(text, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case text == "" && data != nil:
			if err := json.Unmarshal(data, &event.CompletionEvent); err != nil {
				return event, fmt.Errorf("an event is not as it should be: %w", err)
			}
			return event, nil
		case field == "id":
			event.ID = value
		case field == "data":
			data = append(data, value...)
		}
	}
}
