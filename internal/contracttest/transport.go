package contracttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// Transport sends requests and validates the responses. It is safe for concurrent use.
type Transport struct {
	t               testing.TB
	next            http.RoundTripper
	expectsFailures atomic.Bool
}

// New returns a Transport for a test.
func New(t testing.TB, next http.RoundTripper) *Transport {
	return &Transport{t: t, next: next}
}

// ExpectFailures accepts any 5xx status, for tests that inject faults. Otherwise a 5xx status fails the test, except
// for 503, which a busy server sends too.
func (c *Transport) ExpectFailures() { c.expectsFailures.Store(true) }

// RoundTrip sends a request. The response is validated when its body was read to the end. A body that breaks or is
// closed early is validated as far as possible. The bodies of sockets and spreadsheets are not validated.
func (c *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	kind := mediaType(response.Header)
	if response.StatusCode == http.StatusSwitchingProtocols || kind == spreadsheet {
		c.check(request, response, nil)
		return response, nil
	}
	response.Body = &recordedBody{ReadCloser: response.Body, kind: kind, done: func(body []byte) { c.check(request, response, body) }}
	return response, nil
}

// CloseIdleConnections closes the idle connections.
func (c *Transport) CloseIdleConnections() { (&http.Client{Transport: c.next}).CloseIdleConnections() }

func (c *Transport) check(request *http.Request, response *http.Response, body []byte) {
	c.t.Helper()
	summary := fmt.Sprintf("%s %s → %d", request.Method, request.URL.RequestURI(), response.StatusCode)
	summary = summary[:min(len(summary), 300)]
	if response.StatusCode >= 500 && response.StatusCode != http.StatusServiceUnavailable && !c.expectsFailures.Load() {
		c.t.Errorf("%s: %s", summary, body)
	}
	for _, err := range checkResponse(exercised, request, response, body) {
		c.t.Errorf("%s: violates the document: %v\n%.2000s", summary, err, body)
	}
}

// CheckResponse validates a response like a Transport, but does not count as coverage. It is for random requests,
// whose coverage would not be reproducible.
func CheckResponse(request *http.Request, response *http.Response, body []byte) error {
	if mediaType(response.Header) == eventStream {
		body = completeEvents(body)
	}
	return errors.Join(checkResponse(nil, request, response, body)...)
}

// recordedBody records the data that is read from a body, and validates it once, at the end. Like any body it may be
// closed while another goroutine reads, so a mutex guards its fields.
type recordedBody struct {
	io.ReadCloser
	kind  string
	done  func([]byte)
	mu    sync.Mutex
	text  bytes.Buffer
	ended bool
}

// Read reads from the body.
func (b *recordedBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Write(into[:n])
	if err == io.EOF {
		b.end(b.text.Bytes())
	}
	b.ended = b.ended || err != nil
	return n, err
}

// Close closes the body. It first reads the rest of a JSON text, which a decoder may have left unread. Of a stream,
// the complete events are validated.
func (b *recordedBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended && isJSON(b.kind) {
		if _, err := b.text.ReadFrom(b.ReadCloser); err == nil {
			b.end(b.text.Bytes())
		}
	}
	if !b.ended && b.kind == eventStream {
		b.end(completeEvents(b.text.Bytes()))
	}
	b.ended = true
	return b.ReadCloser.Close()
}

func (b *recordedBody) end(text []byte) {
	if !b.ended {
		b.ended = true
		b.done(text)
	}
}

// completeEvents returns the text without an incomplete last event.
func completeEvents(text []byte) []byte {
	return text[:bytes.LastIndex(text, []byte("\n\n"))+1]
}
