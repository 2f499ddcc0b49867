package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/internal/contracttest"
)

// client calls the API of a server with a key.
type client struct {
	t         *testing.T
	base, key string
	http      *http.Client
	header    http.Header // additional headers of every request
}

func (p *process) client(key string) client {
	return newClient(p.t, p.base, key, 0)
}

// newClient returns a client. A positive buffer limits the size of its read buffers.
func newClient(t *testing.T, base, key string, buffer int) client {
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	if buffer > 0 {
		transport.ReadBufferSize = buffer
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				err = conn.(*net.TCPConn).SetReadBuffer(buffer)
			}
			return conn, err
		}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return client{t: t, base: base, key: key, http: &http.Client{Transport: contracttest.New(t, transport), Timeout: testTimeout * 4}}
}

// with returns a client that also sends a header.
func (c client) with(name, value string) client {
	c.header = c.header.Clone()
	if c.header == nil {
		c.header = http.Header{}
	}
	c.header.Set(name, value)
	return c
}

// try sends a request and reads the whole response.
func (c client) try(method, path string, body any) (int, []byte, error) {
	answer, err := c.open(method, path, body)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return answer.StatusCode, content, err
}

// open sends a request. The caller reads and closes the body of the response.
func (c client) open(method, path string, body any) (*http.Response, error) {
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, c.base+path, sent)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, c.header)
	request.Header.Set("Authorization", "Api-Key "+c.key)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return c.http.Do(request)
}

// call sends a request, which must have the status, and decodes the response into a value.
func (c client) call(method, path string, body any, status int, into any) {
	c.t.Helper()
	got, content, err := c.try(method, path, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	if got != status {
		c.t.Fatalf("%s %s: status %d, want %d: %s", method, path, got, status, content)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(content, into); err != nil {
		c.t.Fatalf("%s %s: %v: %s", method, path, err, content)
	}
}

// start starts a conversation and returns its ID.
func (c client) start() string {
	c.t.Helper()
	var started struct {
		ID string `json:"conversation_id"`
	}
	c.call("POST", "/api/conversations/start", object{}, http.StatusCreated, &started)
	return started.ID
}

// createScriptedBot creates a chatbot with a script.
func (c client) createScriptedBot(slug string, rules ...object) {
	c.t.Helper()
	c.call("POST", "/api/chatbots/", object{"name": slug, "slug": slug, "engine": "scripted", "script": object{"rules": rules}}, http.StatusCreated, nil)
}

// scriptRule returns a rule that writes n numbered deltas with a delay before each, and its whole text.
func scriptRule(match string, n, delayMS int) (rule object, text string) {
	var deltas []string
	for i := range n {
		deltas = append(deltas, fmt.Sprintf("%s%d of %d 第%d ", match, i+1, n, i+1))
	}
	return object{"match": match, "deltas": deltas, "delayMs": delayMS}, strings.Join(deltas, "")
}

// startWith starts a conversation with a chatbot.
func (c client) startWith(bot string) string {
	c.t.Helper()
	var started struct {
		ID string `json:"conversation_id"`
	}
	c.call("POST", "/api/conversations/start", object{"bot_id": bot}, http.StatusCreated, &started)
	return started.ID
}

type object map[string]any

type sent struct {
	ID        string `json:"message_id"`
	RunID     string `json:"run_id"`
	Timestamp string
	Seq       int64
}

func (c client) send(conversation, content string) (sent, int, error) {
	status, answer, err := c.try("POST", "/api/conversations/"+conversation+"/messages", object{"content": content})
	var message sent
	if err != nil || status != http.StatusCreated {
		return message, status, err
	}
	return message, status, json.Unmarshal(answer, &message)
}

type message struct {
	ID        string
	Seq       int64
	Type      string
	Content   string
	RunID     string
	CreatedAt string
}

// messages returns all messages of a conversation, oldest first.
func (c client) messages(conversation string) []message {
	c.t.Helper()
	var all []message
	path := "/api/messages/?pageSize=100&conversation=" + conversation
	for next := path; ; {
		var page struct {
			NextCursor *string
			Results    []message
		}
		c.call("GET", next, nil, http.StatusOK, &page)
		for _, m := range page.Results {
			all = append([]message{m}, all...)
		}
		if page.NextCursor == nil {
			return all
		}
		next = path + "&cursor=" + *page.NextCursor
	}
}

// status returns the status of a GET request, or 0 if there is no response.
func (c client) status(path string) int {
	status, _, _ := c.try("GET", path, nil)
	return status
}

// apiRun is a run in the API.
type apiRun struct {
	ID, QuestionID, MessageID string
	State, FinishReason       string
	Attempt                   int
	Error                     *struct{ Error, Detail string }
}

func (c client) run(id string) apiRun {
	c.t.Helper()
	var found apiRun
	c.call("GET", "/api/runs/"+id+"/", nil, http.StatusOK, &found)
	return found
}

// event is an event of a streamed reply.
type event struct {
	ID           string `json:"-"`
	Data         string `json:"-"` // the raw JSON
	RunID        string
	MessageID    string
	Content      string
	Reset        bool
	Done         bool
	FinishReason string
	Error        *struct{ Error, Detail string }
}

// eachEvent calls a function for each event of a stream until its end. It reads through a small buffer.
func eachEvent(stream io.Reader, heard func(event)) error {
	lines := bufio.NewReaderSize(stream, 256)
	for id := ""; ; {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		line = strings.TrimSuffix(line, "\n")
		if output, ok := strings.CutPrefix(line, "id: "); ok {
			id = output
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			ev := event{ID: id, Data: data}
			if err := json.Unmarshal([]byte(data), &ev); err != nil {
				return fmt.Errorf("%w: %s", err, data)
			}
			heard(ev)
		}
	}
}

func readEvents(t *testing.T, stream io.Reader) []event {
	t.Helper()
	var events []event
	if err := eachEvent(stream, func(ev event) { events = append(events, ev) }); err != nil {
		t.Fatalf("the stream failed after %d events: %v", len(events), err)
	}
	return events
}

// textOf joins the deltas of a stream, as a client does.
func textOf(events []event) string {
	var text string
	for _, ev := range events {
		if ev.Reset {
			text = ""
		}
		text += ev.Content
	}
	return text
}

// streamReader reads a stream in the background.
type streamReader struct {
	mu     sync.Mutex
	events []event
	ended  chan struct{}
	err    error // valid once done is closed
}

// listen opens a stream and reads it in the background.
func (c client) listen(method, path string, body any) *streamReader {
	c.t.Helper()
	l, _ := c.listenWithHeader(method, path, body)
	return l
}

func (c client) listenWithHeader(method, path string, body any) (*streamReader, http.Header) {
	c.t.Helper()
	answer, err := c.open(method, path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		content, _ := io.ReadAll(answer.Body)
		c.t.Fatalf("%s %s: %s: %s", method, path, answer.Status, content)
	}
	l := &streamReader{ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		defer answer.Body.Close()
		l.err = eachEvent(answer.Body, func(ev event) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.events = append(l.events, ev)
		})
	}()
	c.t.Cleanup(func() {
		answer.Body.Close()
		<-l.ended
	})
	return l, answer.Header
}

// received returns the events so far.
func (l *streamReader) received() []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// finish waits for the end of the stream, which must be a final event. It returns the text and that event.
func (l *streamReader) finish(t *testing.T) (string, event) {
	t.Helper()
	select {
	case <-l.ended:
	case <-time.After(testTimeout * 2):
		t.Fatal("the stream did not end")
	}
	events := l.received()
	if l.err != nil || len(events) == 0 {
		t.Fatalf("the stream failed after %d events: %v", len(events), l.err)
	}
	for i, ev := range events {
		if isLast := i == len(events)-1; ev.Done != isLast || isLast && ev.Content != "" {
			t.Fatalf("event %d of %d: %+v", i+1, len(events), ev)
		}
	}
	return textOf(events), events[len(events)-1]
}
