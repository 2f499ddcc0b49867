package llm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
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

	"parley/internal/bot"
	"parley/internal/trace"
)

const (
	connectTimeout = 10 * time.Second
	usageTimeout   = 2 * time.Second // for the token usage, after the end of the reply
	// drainTimeout is for the rest of the stream after its last event: only a connection whose
	// response was read to the end can be reused.
	drainTimeout = 50 * time.Millisecond
)

const (
	// maxRetries is how often a call is retried if it failed before the first token.
	maxRetries = 2
	// firstBackoff is the average wait before the first retry. It doubles for the next one.
	firstBackoff = 500 * time.Millisecond
	// maxRetryAfter is the longest wait that a server may ask for. If it asks for more, the call
	// fails.
	maxRetryAfter = 10 * time.Second
	maxRedirects  = 3
)

// client calls OpenAI-compatible servers. It is safe for concurrent use.
type client struct {
	http    *http.Client
	breaker circuitBreaker
	shapes  shapes
	traces  *trace.Tracer // may be nil
	// calls counts the attempts by their outcome: answered, abandoned, or a kind of error.
	calls map[string]*atomic.Int64
}

// call is a request to a model server.
type call struct {
	organizationID uuid.UUID
	baseURL        string
	model          string
	apiKey         string // empty if the server needs none
	body           []byte
	shape          shape // of the body
	timeouts       timeouts
	// relay receives the chunks of the response. The text is emitted if it is nil.
	relay func(chunk json.RawMessage) error
}

// timeouts are how long a call waits for data from the server, before the first token and after it. Any byte of the
// response counts.
type timeouts struct{ firstToken, betweenTokens, total time.Duration }

func timeoutsOf(m bot.Model) timeouts {
	seconds := func(n, byDefault int) time.Duration { return time.Duration(cmp.Or(n, byDefault)) * time.Second }
	t := m.Timeouts
	return timeouts{
		seconds(t.FirstToken, bot.DefaultFirstTokenTimeout), seconds(t.BetweenTokens, bot.DefaultBetweenTokensTimeout), seconds(t.Total, bot.DefaultTotalTimeout),
	}
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func newClient(dial dialer) *client {
	calls := map[string]*atomic.Int64{outcomeAnswered: {}, outcomeAbandoned: {}}
	for _, kind := range errorKinds {
		calls[kind] = new(atomic.Int64)
	}
	return &client{calls: calls, http: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, connectTimeout)
				defer cancel()
				return dial(ctx, network, address)
			},
			TLSHandshakeTimeout: connectTimeout,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true, // decodedBody decodes compression that the request did not ask for
		},
		CheckRedirect: checkRedirect,
	}}
}

// checkRedirect follows redirects only within the same server and with the request's body. The
// question and the API key must not reach another server.
func checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > maxRedirects || next.Method != first.Method || next.URL.Host != first.URL.Host || next.URL.Scheme != first.URL.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

// complete calls a server and passes the reply to emit as it arrives. It retries transient errors
// until the first token. It returns the error of emit, the cause of ctx, errCircuitOpen, or a
// *callError, with as much of the reply as was received; nil if there is none.
func (c *client) complete(ctx context.Context, call call, emit func(delta string) error) (*completion, error) {
	report, ok := c.breaker.allow(serverID{call.organizationID, call.baseURL})
	if !ok {
		c.calls[kindCircuitOpen].Add(1)
		return nil, errCircuitOpen
	}
	observed, isReported := healthUnknown, false
	reportOnce := func(h health) {
		if !isReported {
			isReported = true
			report(h)
		}
	}
	defer func() { reportOnce(observed) }()
	// A server that has begun to reply is healthy. Reporting it right away closes a half-open
	// circuit before the reply ends.
	onToken := func() { reportOnce(healthy) }

	for retries := 0; ; retries++ {
		reply, err := c.attempt(ctx, call, emit, onToken)
		callErr, ok := errors.AsType[*callError](err)
		if !ok {
			return reply, err
		}
		observed = callErr.shows
		if callErr.apiErr == errNoFirstToken || callErr.apiErr == errStalled {
			// The network may have dropped the connection silently, and idle connections with it.
			c.http.CloseIdleConnections()
		}
		wait := backoff(retries)
		if callErr.retryAfter > 0 {
			wait = callErr.retryAfter
		}
		if !callErr.isTransient || retries == maxRetries || wait > maxRetryAfter {
			return reply, callErr
		}
		select {
		case <-ctx.Done():
			observed = healthUnknown
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// backoff returns the wait before a retry, with a jitter of half of it.
func backoff(retries int) time.Duration {
	return time.Duration((0.5 + rand.Float64()) * float64(firstBackoff<<retries))
}

// attempt calls the server once, with a span and a count. It calls onToken when the reply begins.
// It returns the error of emit, the cause of ctx, or a *callError.
func (c *client) attempt(ctx context.Context, call call, emit func(delta string) error, onToken func()) (*completion, error) {
	ctx, span := c.traces.StartClient(ctx, "chat")
	defer span.End()
	reply, err := c.send(ctx, call, emit, onToken)
	c.calls[outcomeOf(err)].Add(1)
	if span.IsRecording() {
		describe(span, call, reply, err)
	}
	return reply, err
}

// describe sets the attributes of an attempt's span, following OpenTelemetry's conventions for
// generative AI.
func describe(span trace.Span, call call, reply *completion, err error) {
	span.SetName("chat " + call.model)
	span.SetText("gen_ai.operation.name", "chat")
	span.SetText("gen_ai.request.model", call.model)
	if at, err := url.Parse(call.baseURL); err == nil {
		span.SetText("server.address", at.Hostname())
	}
	if reply != nil && reply.usage.prompt != nil {
		span.SetNumber("gen_ai.usage.input_tokens", *reply.usage.prompt)
	}
	if reply != nil && reply.usage.completion != nil {
		span.SetNumber("gen_ai.usage.output_tokens", *reply.usage.completion)
	}
	if err != nil {
		span.Fail(outcomeOf(err))
	}
}

// The outcomes of attempts besides the kinds of errors.
const (
	outcomeAnswered  = "answered"
	outcomeAbandoned = "given_up" // ended by emit or by the context
)

func outcomeOf(err error) string {
	if callErr, ok := errors.AsType[*callError](err); ok {
		return callErr.kind
	}
	if err != nil {
		return outcomeAbandoned
	}
	return outcomeAnswered
}

// send sends the request and reads the response. Canceling its context closes the connection unless
// the response was read to its end.
func (c *client) send(callCtx context.Context, call call, emit func(delta string) error, onToken func()) (*completion, error) {
	ctx, cancel := context.WithCancelCause(callCtx)
	defer cancel(nil)
	timer := watchdog{cancel: cancel}
	defer timer.stop()
	patience := call.timeouts.firstToken
	if !call.shape.isStreamed() {
		patience = call.timeouts.total // the whole reply comes at once
	}
	timer.reset(patience, errNoFirstToken)

	request, err := c.newRequest(ctx, call)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, attemptError(ctx, callCtx, unreachedError(call, err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		err := statusError
		if call.relay != nil {
			err = relayStatusError
		}
		return nil, attemptError(ctx, callCtx, err(response, call))
	}

	isAlive := func() { timer.reset(patience, errNoFirstToken) }
	reply := &completion{emit: emit, relay: call.relay}
	reply.onProgress = func() {
		onToken()
		isAlive = func() { timer.reset(call.timeouts.betweenTokens, errStalled) }
		isAlive()
	}
	reply.onFinish = func() {
		onToken()
		isAlive = func() {}
		timer.reset(usageTimeout, errNoUsage)
	}
	body, err := decodedBody(response, watchedReader{response.Body, func() { isAlive() }})
	if err == nil {
		err = reply.read(body)
	}
	switch {
	case reply.emitErr != nil:
		return reply, reply.emitErr
	case err != nil:
		return reply, attemptError(ctx, callCtx, readError(call, err, reply.size > 0 || reply.relay != nil && reply.hasBegun))
	}
	timer.reset(drainTimeout, errNoUsage)
	_, _ = io.CopyN(io.Discard, response.Body, maxLine) // the reply is complete, whatever follows
	return reply, nil
}

func (c *client) newRequest(ctx context.Context, call call) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(call.baseURL, "/")+"/chat/completions", bytes.NewReader(call.body))
	if err != nil {
		return nil, fmt.Errorf("create the request to the model server: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "text/event-stream, application/json")
	request.Header.Set("Accept-Encoding", "identity") // compression buffers the events of a stream
	request.Header.Set("User-Agent", "parley")
	c.traces.Inject(ctx, request.Header)
	if call.apiKey != "" {
		request.Header.Set("Authorization", "Bearer "+call.apiKey)
	}
	return request, nil
}

// watchedReader calls onRead whenever something was read.
type watchedReader struct {
	io.Reader
	onRead func()
}

func (w watchedReader) Read(into []byte) (int, error) {
	n, err := w.Reader.Read(into)
	if n > 0 {
		w.onRead()
	}
	return n, err
}

// watchdog cancels a context with a cause unless it is reset in time.
type watchdog struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	cause  error
}

// reset restarts the timer. With the same cause as before, which is the case for every token, it
// does not allocate.
func (w *watchdog) reset(after time.Duration, cause error) {
	if w.timer != nil && w.cause == cause { //nolint:errorlint // identity, not equivalence
		w.timer.Reset(after)
		return
	}
	w.stop()
	w.cause = cause
	w.timer = time.AfterFunc(after, func() { w.cancel(cause) })
}

func (w *watchdog) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}
