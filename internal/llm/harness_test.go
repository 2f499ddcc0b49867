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
	"parley/internal/bot"
	"parley/internal/llm"
)

const upstreamKey = "sk-hushhushhush"

// secretWords are what no asker may hear of an upstream.
const secretWords = "the upstream's own words"

// pipes is a network in memory, so that the time of a synctest bubble passes when all wait.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newPipes() *pipes {
	return &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
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

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// upstream is a model server with a habit, and who asks it.
type upstream struct {
	t     *testing.T
	pipes *pipes
	asker *llm.TestClient
	model bot.Model

	mu    sync.Mutex
	asked []asked
}

// asked is a request as the upstream got it.
type asked struct {
	header http.Header
	path   string
	body   map[string]json.RawMessage
}

// withUpstream runs a test in a bubble with an upstream, whose habit is told the number of the request, from 1.
func withUpstream(t *testing.T, habit func(w http.ResponseWriter, r *http.Request, n int), test func(t *testing.T, u *upstream)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{t: t, pipes: newPipes(), model: bot.Model{BaseURL: "http://model.test/v1", Name: "small", HistoryTokens: 4000}}
		u.asker = llm.NewTestClient(u.pipes.dial)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			one := asked{header: r.Header, path: r.URL.Path}
			if err := json.NewDecoder(r.Body).Decode(&one.body); err != nil {
				t.Errorf("the request's body: %v", err)
			}
			_, _ = io.Copy(io.Discard, r.Body) // so that the server notices when the caller leaves
			u.mu.Lock()
			u.asked = append(u.asked, one)
			n := len(u.asked)
			u.mu.Unlock()
			habit(w, r, n)
		})}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(u.pipes) })
		defer serving.Wait()
		defer server.Close()
		defer u.asker.Close()
		test(t, u)
	})
}

func (u *upstream) requests() []asked {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked
}

// outcome is what became of a question.
type outcome struct {
	bot.Answer
	deltas []string
	err    error
}

func (o outcome) text() string { return strings.Join(o.deltas, "") }

func (u *upstream) ask() outcome {
	return u.askWith(context.Background(), bot.Question{Bot: db.Bot{UnanswerableReply: "I cannot say."}, Text: "Hello?"})
}

func (u *upstream) askWith(ctx context.Context, q bot.Question) outcome {
	var o outcome
	o.Answer, o.err = u.asker.Ask(ctx, u.model, upstreamKey, q, func(delta string) error {
		if delta == "" {
			u.t.Error("a delta is empty")
		}
		o.deltas = append(o.deltas, delta)
		return nil
	})
	return o
}

// send writes parts as an event stream would come over the network: each by itself.
func send(w http.ResponseWriter, parts ...string) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	for _, part := range parts {
		_, _ = io.WriteString(w, part) // fails when the caller has left
		_ = http.NewResponseController(w).Flush()
	}
}

func quote(text string) string {
	raw, _ := json.Marshal(text) // a string always can
	return string(raw)
}

// says is an event with a piece of the reply.
func says(text string) string {
	return data(`{"choices":[{"index":0,"delta":{"content":` + quote(text) + `}}]}`)
}

func finishes(reason string) string {
	return data(`{"choices":[{"index":0,"delta":{},"finish_reason":"` + reason + `"}]}`)
}

func data(value string) string { return "data: " + value + "\n\n" }

const (
	opening = `data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}],"usage":null}` + "\n\n"
	usage   = `data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}` + "\n\n"
	done    = "data: [DONE]\n\n"
)

func answering(parts ...string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) { send(w, parts...) }
}

func answeringStatus(status int, header ...string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":{"message":"%s: %s"}}`, secretWords, upstreamKey)
	}
}
