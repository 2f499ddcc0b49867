package llm_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/llm"
)

// goodReply is a complete reply with the text "Good day".
var goodReply = replyWith(opening, textEvent("Good day"), finishEvent("stop"), done)

// pause waits for a duration, or until the client disconnects.
func pause(r *http.Request, d time.Duration) {
	select {
	case <-r.Context().Done():
	case <-time.After(d):
	}
}

// sendEvery sends an event again and again until the client disconnects.
func sendEvery(interval time.Duration, event string) serverHandler {
	return func(w http.ResponseWriter, r *http.Request, _ int) {
		for r.Context().Err() == nil {
			send(w, event)
			pause(r, interval)
		}
	}
}

// sendThenHang sends some events and leaves the stream open.
func sendThenHang(events ...string) serverHandler {
	return func(w http.ResponseWriter, r *http.Request, _ int) { send(w, events...); hang(r) }
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		handler  serverHandler
		message  string // part of the error; empty if the reply succeeds
		min, max time.Duration
	}{
		"no header": {
			func(_ http.ResponseWriter, r *http.Request, _ int) { hang(r) }, "did not begin", time.Minute, time.Minute,
		},
		"no token":      {sendThenHang(opening), "did not begin", time.Minute, time.Minute},
		"only comments": {sendEvery(time.Second, ": wait\n\n"), "too long", 10 * time.Minute, 10 * time.Minute},
		"stalled":       {sendThenHang(textEvent("Good ")), "silent", 30 * time.Second, 30 * time.Second},
		"slow": {
			func(w http.ResponseWriter, r *http.Request, _ int) {
				pause(r, 59*time.Second)
				for range 5 {
					send(w, textEvent("Good "))
					pause(r, 29*time.Second)
				}
				send(w, finishEvent("stop"), done)
			},
			"", 204 * time.Second, 204 * time.Second,
		},
		"long reasoning": {
			func(w http.ResponseWriter, r *http.Request, _ int) {
				for range 10 {
					send(w, event(`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`))
					pause(r, 20*time.Second)
				}
				send(w, textEvent("Good day"), finishEvent("stop"), done)
			},
			"", 200 * time.Second, 200 * time.Second,
		},
		"endless":               {sendEvery(20*time.Second, textEvent("Good ")), "too long", 10 * time.Minute, 10 * time.Minute},
		"open after the finish": {sendThenHang(textEvent("Good day"), finishEvent("stop")), "", 0, 2 * time.Second},
		"open after [DONE]":     {sendThenHang(textEvent("Good day"), finishEvent("stop"), done), "", 0, 100 * time.Millisecond},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withServer(t, c.handler, func(t *testing.T, f *fixture) {
				start := time.Now()
				got := f.ask()
				if elapsed := time.Since(start); elapsed < c.min || elapsed > c.max {
					t.Errorf("took %s, want %s to %s", elapsed, c.min, c.max)
				}
				if c.message == "" {
					if got.err != nil || got.FinishReason != "stop" {
						t.Errorf("got finish reason %q, error %v", got.FinishReason, got.err)
					}
					return
				}
				mustFail(t, got.err, apperr.Timeout, c.message)
				if n := len(f.requests()); n != 1 {
					t.Errorf("got %d requests, want 1", n)
				}
			})
		})
	}
}

func TestTransientErrorsAreRetried(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		first    serverHandler
		min, max time.Duration
	}{
		"429":                           {failWith(429), 250 * time.Millisecond, time.Second},
		"429 with Retry-After":          {failWith(429, "Retry-After", "7"), 7 * time.Second, 7 * time.Second},
		"429 with a date":               {failWith(429, "Retry-After", "Sat, 01 Jan 2000 00:00:05 GMT"), 5 * time.Second, 5 * time.Second},
		"503 with Retry-After":          {failWith(503, "Retry-After", "2"), 2 * time.Second, 2 * time.Second},
		"500":                           {failWith(500), 250 * time.Millisecond, time.Second},
		"502":                           {failWith(502), 250 * time.Millisecond, time.Second},
		"closed connection":             {func(http.ResponseWriter, *http.Request, int) { panic(http.ErrAbortHandler) }, 250 * time.Millisecond, time.Second},
		"redirect within the same host": {failWith(307, "Location", "/elsewhere"), 0, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withServer(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if n == 1 {
					c.first(w, r, n)
					return
				}
				goodReply(w, r, n)
			}, func(t *testing.T, f *fixture) {
				start := time.Now()
				got := f.ask()
				if got.err != nil || got.text() != "Good day" || len(f.requests()) != 2 {
					t.Errorf("got %q, %v after %d requests", got.text(), got.err, len(f.requests()))
				}
				if elapsed := time.Since(start); elapsed < c.min || elapsed > c.max {
					t.Errorf("took %s, want %s to %s", elapsed, c.min, c.max)
				}
				first, second := f.requests()[0].body["messages"], f.requests()[1].body["messages"]
				if string(second) != string(first) {
					t.Errorf("retried with messages %s, want %s", second, first)
				}
			})
		})
	}
}

func TestUnreachableServerIsAnError(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		dial     func(context.Context, string, string) (net.Conn, error)
		dials    int
		min, max time.Duration
	}{
		"refused": {
			func(context.Context, string, string) (net.Conn, error) { return nil, errors.New(serverWords) }, 3, 750 * time.Millisecond, 3 * time.Second,
		},
		"no answer": {
			func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }, 3, 30 * time.Second, 33 * time.Second,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dials := 0
				f := &fixture{t: t, model: bot.Model{BaseURL: "http://model.test/v1", Name: "small"}}
				f.client = llm.NewTestClient(func(ctx context.Context, network, address string) (net.Conn, error) {
					dials++
					return c.dial(ctx, network, address)
				})
				start := time.Now()
				mustFail(t, f.ask().err, apperr.UpstreamFailed, "cannot be reached")
				if elapsed := time.Since(start); elapsed < c.min || elapsed > c.max || dials != c.dials {
					t.Errorf("took %s and %d connections, want %s to %s and %d", elapsed, dials, c.min, c.max, c.dials)
				}
			})
		})
	}
}

func TestUntrustedCertificateIsNotRetried(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = discardLog
	server.StartTLS()
	defer server.Close()
	f := &fixture{t: t, model: bot.Model{BaseURL: server.URL, Name: "small"}}
	dials := 0
	f.client = llm.NewTestClient(func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return new(net.Dialer).DialContext(ctx, network, address)
	})
	mustFail(t, f.ask().err, apperr.UpstreamFailed, "cannot be reached")
	if dials != 1 {
		t.Errorf("got %d connections, want 1", dials)
	}
}

func TestCancellationReachesTheServer(t *testing.T) {
	t.Parallel()
	errLeft := errors.New("left")
	cases := map[string]struct {
		handler serverHandler
		isOver  bool // the request ends before the cancellation
	}{
		"before the header":   {func(_ http.ResponseWriter, r *http.Request, _ int) { hang(r) }, false},
		"in the middle":       {sendThenHang(textEvent("Good ")), false},
		"waiting for a retry": {failWith(429, "Retry-After", "9"), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan time.Time, 1)
			withServer(t, func(w http.ResponseWriter, r *http.Request, n int) {
				c.handler(w, r, n)
				ended <- time.Now()
			}, func(t *testing.T, f *fixture) {
				ctx, cancel := context.WithCancelCause(context.Background())
				defer cancel(nil)
				timer := time.AfterFunc(5*time.Second, func() { cancel(errLeft) })
				defer timer.Stop()
				start := time.Now()
				got := f.askQuestion(ctx, bot.Question{Text: "Hello?"})
				if !errors.Is(got.err, errLeft) || time.Since(start) != 5*time.Second {
					t.Errorf("got error %v after %s, want the cause of the context after 5s", got.err, time.Since(start))
				}
				if at := <-ended; !c.isOver && at.Sub(start) > 6*time.Second {
					t.Errorf("the server noticed after %s", at.Sub(start))
				}
			})
		})
	}
}

func TestErrorOfEmitEndsTheCall(t *testing.T) {
	t.Parallel()
	errFull := errors.New("full")
	withServer(t, sendThenHang(textEvent("Good ")), func(t *testing.T, f *fixture) {
		_, err := f.client.Ask(t.Context(), f.model, serverKey, bot.Question{Text: "Hello?"}, func(string) error { return errFull })
		if !errors.Is(err, errFull) {
			t.Errorf("got error %v, want that of emit", err)
		}
	})
}

func TestRequestHeaders(t *testing.T) {
	t.Parallel()
	withServer(t, goodReply, func(t *testing.T, f *fixture) {
		f.model.BaseURL += "/"
		if got := f.ask(); got.err != nil {
			t.Fatal(got.err)
		}
		got := f.requests()[0]
		if got.path != "/v1/chat/completions" || got.header.Get("Authorization") != "Bearer "+serverKey {
			t.Errorf("got path %s, headers %v", got.path, got.header)
		}
		if agent := got.header.Get("User-Agent"); !strings.EqualFold(agent, "parley") {
			t.Errorf("got user agent %s", agent)
		}
	})
}
