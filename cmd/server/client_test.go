package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// client speaks to a server as one of its users.
type client struct {
	t         *testing.T
	base, key string
	http      *http.Client
}

func (p *process) client(key string) client {
	return newClient(p.t, p.base, key, 0)
}

// newClient makes a client; with a buffer it reads no more ahead than that.
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
	return client{t: t, base: base, key: key, http: &http.Client{Transport: transport, Timeout: patience * 2}}
}

// try sends a request and reads the whole answer.
func (c client) try(method, path string, body any) (int, []byte, error) {
	answer, err := c.open(method, path, body)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return answer.StatusCode, content, err
}

// open sends a request; the answer is still to be read.
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
	request.Header.Set("Authorization", "Api-Key "+c.key)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return c.http.Do(request)
}

// call sends a request whose status must be the wanted one, and decodes the answer.
func (c client) call(method, path string, body any, status int, into any) {
	c.t.Helper()
	got, content, err := c.try(method, path, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	if got != status {
		c.t.Fatalf("%s %s: status %d, not %d: %s", method, path, got, status, content)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(content, into); err != nil {
		c.t.Fatalf("%s %s: %v: %s", method, path, err, content)
	}
}

// start starts a conversation and returns its id.
func (c client) start() string {
	c.t.Helper()
	var started struct {
		ID string `json:"conversation_id"`
	}
	c.call("POST", "/api/conversations/start", object{}, http.StatusCreated, &started)
	return started.ID
}

type object map[string]any

type sent struct {
	ID        string `json:"message_id"`
	Timestamp string
	Seq       int64
	content   string
}

func (c client) send(conversation, content string) (sent, int, error) {
	status, answer, err := c.try("POST", "/api/conversations/"+conversation+"/messages", object{"content": content})
	message := sent{content: content}
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
		for _, one := range page.Results {
			all = append([]message{one}, all...)
		}
		if page.NextCursor == nil {
			return all
		}
		next = path + "&cursor=" + *page.NextCursor
	}
}

// status asks for a status, 0 when no answer can be had.
func (c client) status(path string) int {
	status, _, _ := c.try("GET", path, nil)
	return status
}

// event is one event of a streamed completion.
type event struct {
	MessageID    string
	Content      string
	Done         bool
	FinishReason string
	Error        *struct{ Error, Detail string }
}

// readEvents reads a stream to its end, through a small buffer.
func readEvents(t *testing.T, stream io.Reader) []event {
	t.Helper()
	var events []event
	lines := bufio.NewReaderSize(stream, 256)
	for {
		line, err := lines.ReadString('\n')
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var one event
			if err := json.Unmarshal([]byte(data), &one); err != nil {
				t.Fatalf("%v: %s", err, data)
			}
			events = append(events, one)
		}
		if err == io.EOF {
			return events
		}
		if err != nil {
			t.Fatalf("the stream broke off after %d events: %v", len(events), err)
		}
	}
}
