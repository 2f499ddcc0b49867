package llm_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/llm"
)

// told returns the fault that an error is.
func told(t *testing.T, err error) *apperr.Error {
	t.Helper()
	f, ok := errors.AsType[*apperr.Error](err)
	if !ok {
		t.Fatalf("%v is no fault", err)
	}
	return f
}

func TestAnUpstreamIsWaitedForInMeasure(t *testing.T) {
	t.Parallel()
	wait := func(r *http.Request, d time.Duration) {
		select {
		case <-r.Context().Done():
		case <-time.After(d):
		}
	}
	cases := map[string]struct {
		habit      func(w http.ResponseWriter, r *http.Request, n int)
		says       string // empty: the reply is good
		from, upTo time.Duration
	}{
		"no header comes": {
			func(_ http.ResponseWriter, r *http.Request, _ int) { <-r.Context().Done() },
			"did not begin", time.Minute, time.Minute,
		},
		"no token comes": {
			func(w http.ResponseWriter, r *http.Request, _ int) { send(w, opening); <-r.Context().Done() },
			"did not begin", time.Minute, time.Minute,
		},
		"only comments come": {
			func(w http.ResponseWriter, r *http.Request, _ int) {
				for r.Context().Err() == nil {
					send(w, ": wait\n\n")
					wait(r, time.Second)
				}
			},
			"did not begin", time.Minute, time.Minute,
		},
		"it falls silent": {
			func(w http.ResponseWriter, r *http.Request, _ int) { send(w, says("Good ")); <-r.Context().Done() },
			"silent", 30 * time.Second, 30 * time.Second,
		},
		"it is slow": {
			func(w http.ResponseWriter, r *http.Request, _ int) {
				wait(r, 59*time.Second)
				for range 5 {
					send(w, says("Good "))
					wait(r, 29*time.Second)
				}
				send(w, finishes("stop"), done)
			},
			"", 204 * time.Second, 204 * time.Second,
		},
		"it thinks for long": {
			func(w http.ResponseWriter, r *http.Request, _ int) {
				for range 10 {
					send(w, data(`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`))
					wait(r, 20*time.Second)
				}
				send(w, says("Good day"), finishes("stop"), done)
			},
			"", 200 * time.Second, 200 * time.Second,
		},
		"it does not come to an end": {
			func(w http.ResponseWriter, r *http.Request, _ int) {
				for r.Context().Err() == nil {
					send(w, says("Good "))
					wait(r, 20*time.Second)
				}
			},
			"too long", 10 * time.Minute, 10 * time.Minute,
		},
		"it does not hang up": {
			func(w http.ResponseWriter, r *http.Request, _ int) {
				send(w, says("Good day"), finishes("stop"))
				<-r.Context().Done()
			},
			"", 0, 2 * time.Second,
		},
		"it does not hang up after [DONE]": {
			func(w http.ResponseWriter, r *http.Request, _ int) {
				send(w, says("Good day"), finishes("stop"), done)
				<-r.Context().Done()
			},
			"", 0, 100 * time.Millisecond,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withUpstream(t, c.habit, func(t *testing.T, u *upstream) {
				began := time.Now()
				got := u.ask()
				if took := time.Since(began); took < c.from || took > c.upTo {
					t.Errorf("it took %s", took)
				}
				if c.says == "" {
					if got.err != nil || got.FinishReason != "stop" {
						t.Errorf("it ended with %q, %v", got.FinishReason, got.err)
					}
					return
				}
				mustTell(t, got.err, apperr.Timeout, c.says)
				if n := len(u.requests()); n != 1 {
					t.Errorf("it was asked %d times", n)
				}
			})
		})
	}
}

// forgetful is a connection that loses what is sent once the network has forgotten it.
type forgetful struct {
	net.Conn
	isForgotten *atomic.Bool
}

func (f forgetful) Write(text []byte) (int, error) {
	if f.isForgotten.Load() {
		return len(text), nil
	}
	return f.Conn.Write(text)
}

// A network that has forgotten its connections costs one question its answer: the next one is asked over a new one.
func TestForgottenConnectionsToAnUpstreamAreGivenUp(t *testing.T) {
	t.Parallel()
	both := make(chan struct{})
	good := answering(opening, says("Good day"), finishes("stop"), done)
	habit := func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 2 {
			close(both)
		}
		<-both // so that each has a connection
		good(w, r, n)
	}
	withUpstream(t, habit, func(t *testing.T, u *upstream) {
		var isForgotten atomic.Pointer[atomic.Bool]
		isForgotten.Store(new(atomic.Bool))
		u.asker = llm.NewTestClient(func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := u.pipes.dial(ctx, network, address)
			return forgetful{conn, isForgotten.Load()}, err
		})
		defer u.asker.Close()
		var first sync.WaitGroup
		for range 2 {
			first.Go(func() {
				if got := u.ask(); got.err != nil {
					t.Error(got.err)
				}
			})
		}
		first.Wait()
		isForgotten.Swap(new(atomic.Bool)).Store(true)
		mustTell(t, u.ask().err, apperr.Timeout, "did not begin")
		if got := u.ask(); got.err != nil {
			t.Error(got.err)
		}
	})
}

func TestWhatPassesIsTriedAgain(t *testing.T) {
	t.Parallel()
	good := answering(opening, says("Good day"), finishes("stop"), done)
	cases := map[string]struct {
		first      func(http.ResponseWriter, *http.Request, int)
		from, upTo time.Duration
	}{
		"busy":                       {answeringStatus(429), 250 * time.Millisecond, time.Second},
		"busy for some seconds":      {answeringStatus(429, "Retry-After", "7"), 7 * time.Second, 7 * time.Second},
		"busy until a time":          {answeringStatus(429, "Retry-After", "Sat, 01 Jan 2000 00:00:05 GMT"), 5 * time.Second, 5 * time.Second},
		"overloaded, for some time":  {answeringStatus(503, "Retry-After", "2"), 2 * time.Second, 2 * time.Second},
		"broken":                     {answeringStatus(500), 250 * time.Millisecond, time.Second},
		"a gateway without upstream": {answeringStatus(502), 250 * time.Millisecond, time.Second},
		"hung up":                    {func(http.ResponseWriter, *http.Request, int) { panic(http.ErrAbortHandler) }, 250 * time.Millisecond, time.Second},
		"moved within the host":      {answeringStatus(307, "Location", "/elsewhere"), 0, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withUpstream(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if n == 1 {
					c.first(w, r, n)
					return
				}
				good(w, r, n)
			}, func(t *testing.T, u *upstream) {
				began := time.Now()
				got := u.ask()
				if got.err != nil || got.text() != "Good day" || len(u.requests()) != 2 {
					t.Errorf("got %q, %v after %d requests", got.text(), got.err, len(u.requests()))
				}
				if took := time.Since(began); took < c.from || took > c.upTo {
					t.Errorf("it took %s", took)
				}
				if again := u.requests()[1]; string(again.body["messages"]) != string(u.requests()[0].body["messages"]) {
					t.Errorf("the second time it was asked %s", again.body["messages"])
				}
			})
		})
	}
}

func TestAnUpstreamThatIsNotThereIsAFault(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		dial       func(context.Context, string, string) (net.Conn, error)
		dials      int
		from, upTo time.Duration
	}{
		"refused": {
			func(context.Context, string, string) (net.Conn, error) { return nil, errors.New(secretWords) }, 3, 750 * time.Millisecond, 3 * time.Second,
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
				u := &upstream{t: t, model: bot.Model{BaseURL: "http://model.test/v1", Name: "small"}}
				u.asker = llm.NewTestClient(func(ctx context.Context, network, address string) (net.Conn, error) {
					dials++
					return c.dial(ctx, network, address)
				})
				began := time.Now()
				mustTell(t, u.ask().err, apperr.UpstreamFailed, "cannot be reached")
				if took := time.Since(began); took < c.from || took > c.upTo || dials != c.dials {
					t.Errorf("it took %s and %d connections", took, dials)
				}
			})
		})
	}
}

func TestACertificateThatIsNotTrustedIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = discarded
	server.StartTLS()
	defer server.Close()
	u := &upstream{t: t, model: bot.Model{BaseURL: server.URL, Name: "small"}}
	dials := 0
	u.asker = llm.NewTestClient(func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return new(net.Dialer).DialContext(ctx, network, address)
	})
	mustTell(t, u.ask().err, apperr.UpstreamFailed, "cannot be reached")
	if dials != 1 {
		t.Errorf("it was tried %d times", dials)
	}
}

func TestWhoeverLeavesTakesTheUpstreamAlong(t *testing.T) {
	t.Parallel()
	errLeft := errors.New("left")
	for _, moment := range []string{"before the header", "in the middle", "while it waits to try again"} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			left := make(chan time.Time, 1)
			withUpstream(t, func(w http.ResponseWriter, r *http.Request, _ int) {
				switch moment {
				case "while it waits to try again":
					left <- time.Time{}
					answeringStatus(429, "Retry-After", "9")(w, r, 1)
					return
				case "in the middle":
					send(w, says("Good "))
				}
				<-r.Context().Done()
				left <- time.Now()
			}, func(t *testing.T, u *upstream) {
				ctx, leave := context.WithCancelCause(context.Background())
				defer leave(nil)
				leaving := time.AfterFunc(5*time.Second, func() { leave(errLeft) })
				defer leaving.Stop()
				began := time.Now()
				got := u.askWith(ctx, bot.Question{Text: "Hello?"})
				if !errors.Is(got.err, errLeft) || time.Since(began) != 5*time.Second {
					t.Errorf("after %s: %v", time.Since(began), got.err)
				}
				if at := <-left; !at.IsZero() && at.Sub(began) > 6*time.Second {
					t.Errorf("the upstream noticed after %s", at.Sub(began))
				}
			})
		})
	}
}

func TestTheErrorOfEmitEndsTheReply(t *testing.T) {
	t.Parallel()
	errFull := errors.New("full")
	withUpstream(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		send(w, says("Good "))
		<-r.Context().Done()
	}, func(t *testing.T, u *upstream) {
		_, err := u.asker.Ask(t.Context(), u.model, upstreamKey, bot.Question{Text: "Hello?"}, func(string) error { return errFull })
		if !errors.Is(err, errFull) {
			t.Errorf("got %v", err)
		}
	})
}

func TestADeadUpstreamIsLeftAloneForAWhile(t *testing.T) {
	t.Parallel()
	isDead := true
	withUpstream(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if isDead {
			answeringStatus(500)(w, r, n)
			return
		}
		answering(says("Good day"), finishes("stop"), done)(w, r, n)
	}, func(t *testing.T, u *upstream) {
		fails := func(says string, requests int) {
			t.Helper()
			before := len(u.requests())
			mustTell(t, u.ask().err, apperr.UpstreamFailed, says)
			if n := len(u.requests()) - before; n != requests {
				t.Errorf("it was asked %d times, not %d", n, requests)
			}
		}
		for range 3 {
			fails("The model server failed.", 3)
		}
		began := time.Now()
		fails("several times in a row", 0)
		if time.Since(began) != 0 {
			t.Errorf("that took %s", time.Since(began))
		}

		// One question tries it after a while, and the others are told at once meanwhile.
		time.Sleep(15 * time.Second)
		probe := make(chan error)
		go func() { probe <- u.ask().err }()
		synctest.Wait()
		fails("several times in a row", 0)
		mustTell(t, <-probe, apperr.UpstreamFailed, "The model server failed.")
		fails("several times in a row", 0)

		// Another organization's trouble with the same server is its own.
		other := u.askWith(t.Context(), bot.Question{Bot: anotherOrganizations, Text: "Hello?"})
		mustTell(t, other.err, apperr.UpstreamFailed, "The model server failed.")

		// Once it lives, all may ask again.
		isDead = false
		time.Sleep(15 * time.Second)
		for range 2 {
			if got := u.ask(); got.err != nil || got.text() != "Good day" {
				t.Errorf("got %q, %v", got.text(), got.err)
			}
		}
	})
}

func TestAChatbotsOwnMistakesDoNotMakeAnUpstreamDead(t *testing.T) {
	t.Parallel()
	withUpstream(t, answeringStatus(401), func(t *testing.T, u *upstream) {
		for range 5 {
			mustTell(t, u.ask().err, apperr.UpstreamFailed, "API key")
		}
	})
}

func TestAConnectionIsUsedAgain(t *testing.T) {
	t.Parallel()
	withUpstream(t, answering(says("Good day"), finishes("stop"), usage, done), func(t *testing.T, u *upstream) {
		dials := 0
		u.asker = llm.NewTestClient(func(ctx context.Context, network, address string) (net.Conn, error) {
			dials++
			return u.pipes.dial(ctx, network, address)
		})
		for range 3 {
			if got := u.ask(); got.err != nil {
				t.Fatal(got.err)
			}
		}
		u.asker.Close()
		if dials != 1 {
			t.Errorf("it took %d connections", dials)
		}
	})
}

func TestTheKeyIsSentAndNothingElseOfUs(t *testing.T) {
	t.Parallel()
	withUpstream(t, answering(says("Good day"), finishes("stop"), done), func(t *testing.T, u *upstream) {
		u.model.BaseURL += "/"
		if got := u.ask(); got.err != nil {
			t.Fatal(got.err)
		}
		got := u.requests()[0]
		if got.path != "/v1/chat/completions" || got.header.Get("Authorization") != "Bearer "+upstreamKey {
			t.Errorf("got %s with %v", got.path, got.header)
		}
		if agent := got.header.Get("User-Agent"); !strings.EqualFold(agent, "parley") {
			t.Errorf("the user agent is %s", agent)
		}
	})
}
