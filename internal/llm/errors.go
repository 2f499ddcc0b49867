package llm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"parley/internal/apperr"
	"parley/internal/egress"
)

// Errors that users see. They never contain the server's own messages, which may quote the question, the instructions
// or the API key.
var (
	errCircuitOpen  = &apperr.Error{Kind: apperr.UpstreamFailed, Message: "The model server has failed several times in a row. Retry in a few seconds.", RetryAfter: openTime}
	errNoFirstToken = apperr.New(apperr.Timeout, "The model server did not begin its reply in time.")
	errStalled      = apperr.New(apperr.Timeout, "The model server went silent in the middle of its reply.")
	errTooLong      = apperr.New(apperr.Timeout, "The model server took too long to complete its reply.")
)

// errNoUsage cancels the wait for the token usage. The user does not see it, because the reply is complete.
var errNoUsage = errors.New("the token usage was not sent in time")

// callError is a failed attempt to call a model server.
type callError struct {
	kind        string        // one of errorKinds
	apiErr      *apperr.Error // what the user sees
	isTransient bool          // another attempt may succeed
	retryAfter  time.Duration // the server's Retry-After; zero if there is none
	shows       health
	isOverflow  bool   // the request was too long for the model
	adapted     *shape // a shape of the request that the server may accept
}

func (e *callError) Error() string { return e.apiErr.Error() }
func (e *callError) Unwrap() error { return e.apiErr }

// newCallError returns an error that counts as a failure of the server. The cause is only logged.
func newCallError(kind string, cause error, message string) *callError {
	return &callError{kind: kind, apiErr: apperr.Wrap(apperr.UpstreamFailed, message, cause), shows: unhealthy}
}

// timeoutKinds are the kinds of the errors that end a call by a timeout.
var timeoutKinds = map[*apperr.Error]string{errNoFirstToken: "no_first_token", errStalled: "silent", errTooLong: "too_long"}

func timeoutError(apiErr *apperr.Error) *callError {
	return &callError{kind: timeoutKinds[apiErr], apiErr: apiErr, shows: unhealthy}
}

// kindCircuitOpen is the kind of calls that the circuit breaker rejects.
const kindCircuitOpen = "cooling_down"

// errorKinds are the kinds of errors, for the metrics.
var errorKinds = []string{
	kindCircuitOpen, "no_first_token", "silent", "too_long", "unreached", "broken_off", "failed", "rate_limited", "unauthorized", "unknown", "redirected", "refused",
	"overflow", "quota", "filtered", "tool_call",
}

// attemptError returns the error of an attempt that failed with err: the cause of callCtx if the caller ended the
// call, or the timeout that ended the attempt's own context, or err.
func attemptError(attemptCtx, callCtx context.Context, err *callError) error {
	if callCtx.Err() != nil {
		cause := context.Cause(callCtx)
		if errors.Is(cause, errTooLong) {
			return timeoutError(errTooLong)
		}
		return cause
	}
	if apiErr, ok := errors.AsType[*apperr.Error](context.Cause(attemptCtx)); ok {
		return timeoutError(apiErr)
	}
	return err
}

// unreachedError is the error of a request without a response. TLS errors are permanent.
func unreachedError(c call, err error) *callError {
	e := newCallError("unreached", c.redact(err), "The model server cannot be reached.")
	if errors.Is(err, egress.ErrRefused) {
		e.apiErr.Message = "The model server is in a network that this service does not connect to."
		e.apiErr.Permanent, e.shows = true, healthy
		return e
	}
	_, isUntrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, isNotTLS := errors.AsType[tls.RecordHeaderError](err)
	e.isTransient = !isUntrusted && !isNotTLS
	return e
}

// readError is the error of a response that could not be read to its end. A server that reports an
// error before the first text may be asked again.
func readError(c call, err error, hasText bool) *callError {
	reported, isReported := errors.AsType[reportedError](err)
	switch {
	case errors.Is(err, errToolCall):
		e := newCallError("tool_call", err, "The model called a tool instead of writing a reply, and the chatbot has none.")
		e.apiErr.Permanent, e.shows = true, healthy
		return e
	case isReported && !hasText:
		return reported.error(c.shape, c.redact(err))
	case isReported:
		e := newCallError("broken_off", c.redact(err), "The model server reported an error.")
		e.apiErr.RetryAfter = reported.retryAfter
		return e
	case hasText:
		return newCallError("broken_off", c.redact(err), "The model server broke off in the middle of its reply.")
	}
	return newCallError("broken_off", c.redact(err), "The model server's response could not be read.")
}

// statusError is the error of a response with a status other than 200.
func statusError(response *http.Response, c call) *callError {
	var body []byte
	if in, err := decodedBody(response, response.Body); err == nil {
		body, _ = io.ReadAll(io.LimitReader(in, 16<<10)) // a partial body may still have the codes
	}
	r := newReport(response.StatusCode, body)
	if wait := retryAfterOf(response.Header); wait > 0 {
		r.retryAfter = wait
	}
	return r.error(c.shape, c.redact(fmt.Errorf("the model server answered %s, %s", response.Status, r.codes())))
}

const redacted = "[API key]"

// redact removes the API key from an error that will be logged, in case the error quotes the
// request.
func (c call) redact(err error) error {
	if c.apiKey == "" {
		return err
	}
	text := strings.ReplaceAll(err.Error(), c.apiKey, redacted)
	// The text may be cut off in the middle of the key.
	for n := len(c.apiKey) - 1; n >= 4; n-- {
		if before, ok := strings.CutSuffix(text, c.apiKey[:n]); ok {
			text = before + redacted
			break
		}
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}
