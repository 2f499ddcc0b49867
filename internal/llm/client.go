package llm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"parley/internal/trace"
)

// How long a model server is waited for.
const (
	connectPatience = 10 * time.Second
	// firstPatience is for the first token, from the sending of the question on.
	firstPatience = 60 * time.Second
	// silencePatience is between two tokens.
	silencePatience = 30 * time.Second
	// endingPatience is for the usage, after the reply.
	endingPatience = 2 * time.Second
	// drainPatience is for the end of the stream, after the last that it says: a connection that is read to its end can be
	// used again.
	drainPatience = 50 * time.Millisecond
	// wholePatience is for all of it, further attempts included.
	wholePatience = 10 * time.Minute
)

const (
	// maxRetries is how often a question is asked again that no token of a reply has come to.
	maxRetries = 2
	// firstBackoff doubles with each retry, half of it more or less by chance.
	firstBackoff = 500 * time.Millisecond
	// maxRetryAfter is the longest wait that a server may ask for: beyond it the question fails at once.
	maxRetryAfter = 10 * time.Second
	maxRedirects  = 3
)

// client asks OpenAI-compatible servers. It is safe for concurrent use.
type client struct {
	http   *http.Client
	wards  wards
	traces *trace.Tracer
	// tally counts the attempts by how they ended: answered, given up for a reason of the
	// asker's, or by the kind of the failure.
	calls map[string]*atomic.Int64
}

// serverID is a server as one organization knows it.
type serverID struct {
	organizationID uuid.UUID
	baseURL        string
}

// call is a question to a model server.
type call struct {
	organizationID uuid.UUID
	baseURL        string
	model          string
	apiKey         string // empty: none is sent
	body           []byte
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func newClient(dial dialer) *client {
	tally := map[string]*atomic.Int64{answered: {}, givenUp: {}}
	for _, kind := range failureKinds {
		tally[kind] = new(atomic.Int64)
	}
	return &client{calls: tally, http: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, connectPatience)
				defer cancel()
				return dial(ctx, network, address)
			},
			TLSHandshakeTimeout: connectPatience,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true, // it would hold a stream's events together
		},
		CheckRedirect: checkRedirect,
	}}
}

// checkRedirect keeps the question and the API key to the server that they are for: to another one, or without its
// body, a request is not sent on.
func checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > maxRedirects || next.Method != first.Method || next.URL.Host != first.URL.Host || next.URL.Scheme != first.URL.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

// complete asks a server and hands the reply to emit as it comes. It is asked again, after a wait, where it was not
// reached or has refused for a reason that passes, and never once a token has come. The error is that of emit, the cause
// of ctx's end, or a fault.
func (s *client) complete(ctx context.Context, c call, emit func(delta string) error) (*completion, error) {
	settle, ok := s.wards.admit(serverID{c.organizationID, c.baseURL})
	if !ok {
		s.calls[coolingDown].Add(1)
		return nil, errCoolingDown
	}
	seen, isSettled := unknown, false
	show := func(v verdict) {
		if !isSettled {
			isSettled = true
			settle(v)
		}
	}
	defer func() { show(seen) }()
	ctx, cancel := context.WithTimeoutCause(ctx, wholePatience, errTooLong)
	defer cancel()
	for retries := 0; ; retries++ {
		// A server that has begun a reply is well: nobody has to wait for the reply's end to know.
		done, err := s.attempt(ctx, c, emit, func() { show(isWell) })
		f, isFailure := errors.AsType[*failure](err)
		if !isFailure {
			return done, err
		}
		seen = f.shows
		if f.told == errNoFirst || f.told == errSilent {
			// The network may have forgotten the connection, and then most likely those that rest too.
			s.http.CloseIdleConnections()
		}
		wait := backoff(retries)
		if f.wait > 0 {
			wait = f.wait
		}
		if !f.isPassing || retries == maxRetries || wait > maxRetryAfter {
			return nil, f.told
		}
		select {
		case <-ctx.Done():
			seen = unknown
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

func backoff(retries int) time.Duration {
	return time.Duration((0.5 + rand.Float64()) * float64(firstBackoff<<retries))
}

// attempt asks once, and calls begun when the reply begins. Its error is that of emit, the cause of ctx's end, or a *failure.
func (s *client) attempt(ctx context.Context, c call, emit func(delta string) error, begun func()) (*completion, error) {
	ctx, span := s.traces.StartClient(ctx, "chat")
	defer span.End()
	done, err := s.ask(ctx, c, emit, begun)
	s.calls[howItEnded(err)].Add(1)
	if span.IsRecording() {
		tell(span, c, done, err)
	}
	return done, err
}

// tell tells of an attempt whom it asked, and how it ended.
func tell(span trace.Span, c call, done *completion, err error) {
	span.SetName("chat " + c.model)
	span.SetText("gen_ai.operation.name", "chat")
	span.SetText("gen_ai.request.model", c.model)
	if at, err := url.Parse(c.baseURL); err == nil {
		span.SetText("server.address", at.Hostname())
	}
	if done != nil && done.promptTokens != nil {
		span.SetNumber("gen_ai.usage.input_tokens", *done.promptTokens)
	}
	if done != nil && done.completionTokens != nil {
		span.SetNumber("gen_ai.usage.output_tokens", *done.completionTokens)
	}
	if err != nil {
		span.Fail(howItEnded(err))
	}
}

// How an attempt ends that does not fail.
const (
	answered = "answered"
	givenUp  = "given_up"
)

func howItEnded(err error) string {
	if f, isFailure := errors.AsType[*failure](err); isFailure {
		return f.kind
	}
	if err != nil {
		return givenUp
	}
	return answered
}

func (s *client) ask(ctx context.Context, c call, emit func(delta string) error, begun func()) (*completion, error) {
	whole := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil) // which also closes the connection, where the answer was not read to its end
	alarm := alarm{cancel: cancel}
	defer alarm.stop()
	alarm.set(firstPatience, errNoFirst)

	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(c.baseURL, "/")+"/chat/completions", bytes.NewReader(c.body))
	if err != nil {
		return nil, fmt.Errorf("make the request to the model server: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("User-Agent", "parley")
	s.traces.Inject(ctx, request.Header)
	if c.apiKey != "" {
		request.Header.Set("Authorization", "Bearer "+c.apiKey)
	}
	response, err := s.http.Do(request)
	if err != nil {
		return nil, ended(ctx, whole, unreached(c, err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, ended(ctx, whole, refused(response, c))
	}

	done := &completion{emit: emit}
	done.heard = func() {
		begun()
		alarm.set(silencePatience, errSilent)
	}
	done.ending = func() {
		begun()
		alarm.set(endingPatience, errNoUsage)
		done.heard = func() {}
	}
	err = done.read(response.Body)
	switch {
	case done.emitErr != nil:
		return nil, done.emitErr
	case err != nil:
		return nil, ended(ctx, whole, spoilt(c, err, done.size > 0))
	}
	alarm.set(drainPatience, errNoUsage)
	_, _ = io.CopyN(io.Discard, response.Body, maxLine) // whatever there is, the reply is there already
	return done, nil
}

// alarm cancels for a reason when it is not set again in time.
type alarm struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	why    error
}

// set sets it anew. At each token it is set for the same reason, which allocates nothing.
func (a *alarm) set(patience time.Duration, why error) {
	if a.timer != nil && a.why == why { //nolint:errorlint // the very same
		a.timer.Reset(patience)
		return
	}
	a.stop()
	a.why = why
	a.timer = time.AfterFunc(patience, func() { a.cancel(why) })
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}
