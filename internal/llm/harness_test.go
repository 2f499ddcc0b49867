package llm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/llm"
)

const serverKey = "sk-hushhushhush"

// serverWords stand for a server's own messages, which callers must not see.
const serverWords = "the upstream's own words"

// pipeListener is an in-memory network. In a synctest bubble, time passes while its connections wait.
type pipeListener struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{accepted: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.accepted <- far:
		return near, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// serverHandler handles the n-th request to a fake model server, counted from 1.
type serverHandler func(w http.ResponseWriter, r *http.Request, n int)

// fixture is a fake model server with a client that calls it.
type fixture struct {
	t        *testing.T
	listener *pipeListener
	client   *llm.TestClient
	model    bot.Model

	mu       sync.Mutex
	received []request
}

// request is a request as the server received it.
type request struct {
	header http.Header
	path   string
	body   map[string]json.RawMessage
}

// withServer runs a test in a synctest bubble with a fake model server.
func withServer(t *testing.T, handler serverHandler, test func(t *testing.T, f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{t: t, listener: newPipeListener(), model: bot.Model{BaseURL: "http://model.test/v1", Name: "small", HistoryTokens: 4000}}
		f.client = llm.NewTestClient(f.listener.dial)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got := request{header: r.Header, path: r.URL.Path}
			if err := json.NewDecoder(r.Body).Decode(&got.body); err != nil {
				t.Errorf("decode the request's body: %v", err)
			}
			_, _ = io.Copy(io.Discard, r.Body) // otherwise the server does not notice a closed connection
			f.mu.Lock()
			f.received = append(f.received, got)
			n := len(f.received)
			f.mu.Unlock()
			handler(w, r, n)
		})}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(f.listener) })
		defer serving.Wait()
		defer server.Close()
		defer f.client.Close()
		test(t, f)
	})
}

func (f *fixture) requests() []request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.received
}

// reply is the outcome of a question.
type reply struct {
	bot.Answer
	deltas []string
	err    error
}

func (r reply) text() string { return strings.Join(r.deltas, "") }

func (f *fixture) ask() reply {
	return f.askQuestion(context.Background(), bot.Question{Bot: db.Bot{UnanswerableReply: "I cannot say."}, Text: "Hello?"})
}

func (f *fixture) askQuestion(ctx context.Context, q bot.Question) reply {
	var r reply
	r.Answer, r.err = f.client.Ask(ctx, f.model, serverKey, q, func(delta string) error {
		if delta == "" {
			f.t.Error("got an empty delta")
		}
		r.deltas = append(r.deltas, delta)
		return nil
	})
	return r
}

// mustFail checks the kind of an error and that its message contains a text. Neither the message nor the logged error
// may contain the server's message or the API key.
func mustFail(t *testing.T, err error, kind apperr.Kind, words string) {
	t.Helper()
	apiErr, ok := errors.AsType[*apperr.Error](err)
	if !ok {
		t.Fatalf("got error %v, want an *apperr.Error", err)
	}
	if apiErr.Kind != kind || !strings.Contains(apiErr.Message, words) {
		t.Errorf("got %s: %q, want %s: %q", apiErr.Kind, apiErr.Message, kind, words)
	}
	if strings.Contains(apiErr.Message, serverWords) {
		t.Errorf("the message quotes the server: %s", apiErr.Message)
	}
	if strings.Contains(err.Error(), serverKey) {
		t.Errorf("the logged error contains the API key: %v", err)
	}
}

// send writes the parts of an event stream, each in a separate packet.
func send(w http.ResponseWriter, parts ...string) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	for _, part := range parts {
		_, _ = io.WriteString(w, part) // fails once the client has disconnected
		_ = http.NewResponseController(w).Flush()
	}
}

func quote(text string) string {
	raw, _ := json.Marshal(text) // a string can always be encoded
	return string(raw)
}

// textEvent is an event with a delta.
func textEvent(text string) string {
	return event(`{"choices":[{"index":0,"delta":{"content":` + quote(text) + `}}]}`)
}

// finishEvent is the event with the finish reason.
func finishEvent(reason string) string {
	return event(`{"choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}]}`)
}

func event(data string) string { return "data: " + data + "\n\n" }

const (
	opening = `data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}],"usage":null}` + "\n\n"
	usage   = `data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}` + "\n\n"
	done    = "data: [DONE]\n\n"
)

// replyWith returns a handler that sends these parts.
func replyWith(parts ...string) serverHandler {
	return func(w http.ResponseWriter, _ *http.Request, _ int) { send(w, parts...) }
}

// failWith returns a handler that sends an error, with header names and values in pairs.
func failWith(status int, header ...string) serverHandler {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":{"message":"%s: %s"}}`, serverWords, serverKey)
	}
}

// hang waits until the client disconnects.
func hang(r *http.Request) { <-r.Context().Done() }
