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

// Transport sends requests, and checks what is answered.
type Transport struct {
	t     testing.TB
	next  http.RoundTripper
	fails atomic.Bool
}

// New returns a Transport for the requests of a test.
func New(t testing.TB, next http.RoundTripper) *Transport {
	return &Transport{t: t, next: next}
}

// ExpectFailures is for tests that break something: any failure of the server is then an answer like others. Without it
// only 503, which also says that much is going on, does not fail the test.
func (c *Transport) ExpectFailures() { c.fails.Store(true) }

// RoundTrip sends the request. Its answer is checked when it has been read to its end; one that breaks off, or is left,
// as far as can be. The bytes of sockets and spreadsheets are the test's.
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
	response.Body = &heard{ReadCloser: response.Body, kind: kind, done: func(body []byte) { c.check(request, response, body) }}
	return response, nil
}

// CloseIdleConnections closes those that no request uses.
func (c *Transport) CloseIdleConnections() { (&http.Client{Transport: c.next}).CloseIdleConnections() }

func (c *Transport) check(request *http.Request, response *http.Response, body []byte) {
	c.t.Helper()
	what := fmt.Sprintf("%s %s → %d", request.Method, request.URL.RequestURI(), response.StatusCode)
	what = what[:min(len(what), 300)]
	if response.StatusCode >= 500 && response.StatusCode != http.StatusServiceUnavailable && !c.fails.Load() {
		c.t.Errorf("%s: %s", what, body)
	}
	for _, err := range mistakes(met, request, response, body) {
		c.t.Errorf("%s: not as the document has it: %v\n%.2000s", what, err, body)
	}
}

// Check holds an answer that has been read against the document, as a Transport does. What was met is not noted: it is for
// what chance has sent, which keeps no promise.
func Check(request *http.Request, response *http.Response, body []byte) error {
	if mediaType(response.Header) == eventStream {
		body = wholeEvents(body)
	}
	return errors.Join(mistakes(nil, request, response, body)...)
}

// heard keeps what is read of an answer, and tells it once, when it is over. Like any body it may be closed while another
// goroutine reads.
type heard struct {
	io.ReadCloser
	kind   string
	mu     sync.Mutex
	text   bytes.Buffer
	isOver bool
	done   func([]byte)
}

// Read reads on.
func (h *heard) Read(into []byte) (int, error) {
	n, err := h.ReadCloser.Read(into)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Write(into[:n])
	if err == io.EOF {
		h.end(h.text.Bytes())
	}
	h.isOver = h.isOver || err != nil
	return n, err
}

// Close ends the answer early. A decoder may have left the end of some JSON; of a stream, what has come up to its last
// event is held against the document.
func (h *heard) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.isOver && isJSON(h.kind) {
		if _, err := h.text.ReadFrom(h.ReadCloser); err == nil {
			h.end(h.text.Bytes())
		}
	}
	if !h.isOver && h.kind == eventStream {
		h.end(wholeEvents(h.text.Bytes()))
	}
	h.isOver = true
	return h.ReadCloser.Close()
}

func (h *heard) end(text []byte) {
	if !h.isOver {
		h.isOver = true
		h.done(text)
	}
}

// wholeEvents leaves out an event that was cut off.
func wholeEvents(text []byte) []byte {
	return text[:bytes.LastIndex(text, []byte("\n\n"))+1]
}
