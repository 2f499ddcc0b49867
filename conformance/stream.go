package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// event is an event of a stream.
type event struct {
	id     string
	data   object
	fields []string // the field names of its lines, in order
	at     time.Time
}

// eventStream is an open event stream (text/event-stream).
type eventStream struct {
	t        *checker
	request  string
	header   http.Header
	body     io.ReadCloser
	lines    *bufio.Reader
	silence  *time.Timer // cancels the request if nothing arrives within limit
	limit    time.Duration
	comments []time.Time // the arrival times of comment lines
}

// streamTimeout is the maximum silence of a stream that should be active.
const streamTimeout = 20 * time.Second

// stream sends a request whose response is an event stream.
func (c client) stream(method, path string, body any, options ...option) *eventStream {
	for waits := 0; ; waits++ {
		ctx, cancel := context.WithCancel(c.t.ctx)
		silence := time.AfterFunc(streamTimeout, cancel)
		sent := c.newRequest(ctx, method, path, body, options)
		received, err := c.t.http.Do(sent.Request)
		if err != nil {
			cancel()
			c.t.fatalf("%s %s: no response: %v", method, path, withoutURL(err))
		}
		got := c.newResponse(method, path, received)
		kind, _, _ := mime.ParseMediaType(got.header.Get("Content-Type")) // an invalid one is not a stream
		if got.status == http.StatusOK && kind == "text/event-stream" {
			return &eventStream{t: c.t, request: got.request, header: got.header, body: received.Body, lines: bufio.NewReader(received.Body), silence: silence, limit: streamTimeout}
		}
		got.body, _ = io.ReadAll(io.LimitReader(received.Body, 1<<20)) // for the failure message
		received.Body.Close()
		cancel()
		c.t.validator.check(sent.Request, got)
		if got.status != http.StatusTooManyRequests || waits == maxLimitWaits {
			got.expectStatus(http.StatusOK)
			c.t.fatalf("%s: the response has the type %q, want an event stream", got.request, got.header.Get("Content-Type"))
		}
		got.waitForLimit()
	}
}

// streamCompletion asks the run's chatbot and streams the reply.
func (c client) streamCompletion(content, conversation string, options ...option) *eventStream {
	return c.stream(http.MethodPost, c.t.completionsPath(), question(content, conversation, true), options...)
}

// next reads an event. It returns false at the end of the stream.
func (s *eventStream) next() (event, bool) {
	var current event
	var data []string
	for {
		s.silence.Reset(s.limit)
		waiting := time.Now()
		line, err := s.lines.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" && len(current.fields) == 0 {
			s.close()
			return current, false
		}
		if err != nil {
			s.t.fatalf("%s: the stream breaks off after %s of silence: %v", s.request, time.Since(waiting).Round(time.Millisecond), err)
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if strings.HasPrefix(line, ":") {
			s.comments = append(s.comments, time.Now())
			continue
		}
		if line == "" {
			if len(current.fields) == 0 {
				continue
			}
			current.at = time.Now()
			if text := strings.Join(data, "\n"); text != "[DONE]" {
				if err := json.Unmarshal([]byte(text), &current.data); err != nil {
					s.t.fatalf("%s: an event is not JSON: %s", s.request, truncate(text, 200))
				}
			}
			return current, true
		}
		name, value, _ := strings.Cut(line, ":")
		current.fields = append(current.fields, name)
		switch value = strings.TrimPrefix(value, " "); name {
		case "id":
			current.id = value
		case "data":
			data = append(data, value)
		}
	}
}

// mustNext reads an event and fails the check at the end of the stream.
func (s *eventStream) mustNext() event {
	next, ok := s.next()
	s.t.require(ok, "%s: the stream ends early", s.request)
	return next
}

// readAll reads the stream to its end. Exactly the last event must have done set.
func (s *eventStream) readAll() []event {
	var all []event
	for next, ok := s.next(); ok; next, ok = s.next() {
		s.t.validator.checkPart("an event of "+s.request, "CompletionEvent", next.data)
		all = append(all, next)
	}
	s.t.require(len(all) > 0, "%s: the stream has no event", s.request)
	for i, next := range all {
		s.t.require(next.data.bool("done") == (i == len(all)-1), "%s: event %d of %d has done: %v", s.request, i+1, len(all), next.data["done"])
	}
	return all
}

// close ends the stream early.
func (s *eventStream) close() {
	s.silence.Stop()
	s.body.Close()
}

// textOf joins the deltas of events.
func textOf(events []event) string {
	var text strings.Builder
	for _, e := range events {
		if e.data.bool("reset") {
			text.Reset()
		}
		text.WriteString(e.data.str("content"))
	}
	return text.String()
}
