package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// event is one event of a stream.
type event struct {
	id     string
	data   object
	fields []string // the names of its lines, in order
	at     time.Time
}

// stream is an answer that comes in events.
type stream struct {
	t        *trial
	asked    string
	header   http.Header
	body     io.ReadCloser
	lines    *bufio.Reader
	patience *time.Timer
	limit    time.Duration // how long nothing may come
	comments []time.Time   // when comment lines came
}

// streamTime is how long nothing may come of a stream that is not meant to be silent.
const streamTime = 20 * time.Second

// stream sends a request that is answered with events.
func (c caller) stream(method, path string, body any, options ...option) *stream {
	for waits := 0; ; waits++ {
		ctx, cancel := context.WithCancel(c.t.ctx)
		patience := time.AfterFunc(streamTime, cancel)
		asked := c.request(ctx, method, path, body, options)
		response, err := c.t.http.Do(asked.Request)
		if err != nil {
			cancel()
			c.t.fail("%s %s is not answered: %v", method, path, unwrapped(err))
		}
		kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")) // an unknown one is no stream
		if response.StatusCode == http.StatusOK && kind == "text/event-stream" {
			return &stream{t: c.t, asked: method + " " + path, header: response.Header, body: response.Body, lines: bufio.NewReader(response.Body), patience: patience, limit: streamTime}
		}
		content, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20)) // what can be had of it is shown
		response.Body.Close()
		cancel()
		got := answer{t: c.t, asked: method + " " + path, status: response.StatusCode, header: response.Header, body: content}
		c.t.seen.look(asked.Request, got)
		if got.status != http.StatusTooManyRequests || waits == maxWaits {
			got.has(http.StatusOK)
			c.t.fail("%s is answered as %q, not as an event stream", got.asked, response.Header.Get("Content-Type"))
		}
		c.t.pause(min(time.Duration(max(1, got.json().num("retry_after")))*time.Second, maxWait))
	}
}

// askStream asks the run's bot for a stream.
func (c caller) askStream(content, conversation string, options ...option) *stream {
	return c.stream(http.MethodPost, c.t.completions(), question(content, conversation, true), options...)
}

// next reads an event; there is none at the stream's end.
func (s *stream) next() (event, bool) {
	var one event
	var data []string
	for {
		s.patience.Reset(s.limit)
		waiting := time.Now()
		line, err := s.lines.ReadString('\n')
		if err == io.EOF && line == "" && len(one.fields) == 0 {
			s.close()
			return one, false
		}
		if err != nil {
			s.t.fail("the stream of %s is cut after %s of silence: %v", s.asked, time.Since(waiting).Round(time.Millisecond), err)
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if strings.HasPrefix(line, ":") {
			s.comments = append(s.comments, time.Now())
			continue
		}
		if line == "" {
			if len(one.fields) == 0 {
				continue
			}
			one.at = time.Now()
			if text := strings.Join(data, "\n"); text != "[DONE]" {
				if err := json.Unmarshal([]byte(text), &one.data); err != nil {
					s.t.fail("an event of %s is no JSON: %s", s.asked, shortened(text, 200))
				}
			}
			return one, true
		}
		name, value, _ := strings.Cut(line, ":")
		one.fields = append(one.fields, name)
		switch value = strings.TrimPrefix(value, " "); name {
		case "id":
			one.id = value
		case "data":
			data = append(data, value)
		}
	}
}

// first reads the event that must be there.
func (s *stream) first() event {
	one, ok := s.next()
	s.t.must(ok, "the stream of %s ends without an event", s.asked)
	return one
}

// rest reads the stream to its end, which must be its one last event.
func (s *stream) rest() []event {
	var all []event
	for {
		one, ok := s.next()
		if !ok {
			break
		}
		s.t.seen.lookAtPart("an event of "+s.asked, "CompletionEvent", one.data)
		all = append(all, one)
	}
	s.t.must(len(all) > 0, "the stream of %s ends without an event", s.asked)
	for i, one := range all {
		isLast := i == len(all)-1
		s.t.must(one.data.is("done") == isLast, "event %d of %d of %s has done: %v", i+1, len(all), s.asked, one.data["done"])
	}
	return all
}

// close leaves the stream.
func (s *stream) close() {
	s.patience.Stop()
	s.body.Close()
}

// said joins the deltas of events.
func said(events []event) string {
	var text strings.Builder
	for _, one := range events {
		if one.data.is("reset") {
			text.Reset()
		}
		text.WriteString(one.data.str("content"))
	}
	return text.String()
}
