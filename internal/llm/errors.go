package llm

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"parley/internal/apperr"
)

// Errors that askers see. They never contain the server's own words, which may quote the question,
// the instructions or the API key.
var (
	errCircuitOpen  = apperr.New(apperr.UpstreamFailed, "The model server has failed several times in a row. Retry in a few seconds.")
	errNoFirstToken = apperr.New(apperr.Timeout, "The model server did not begin its reply in time.")
	errStalled      = apperr.New(apperr.Timeout, "The model server went silent in the middle of its reply.")
	errTooLong      = apperr.New(apperr.Timeout, "The model server took too long to complete its reply.")
)

// errNoUsage cancels the wait for the token usage. The asker does not see it, because the reply is
// complete.
var errNoUsage = errors.New("the token usage was not sent in time")

// callError is a failed attempt to call a model server.
type callError struct {
	kind        string        // one of errorKinds
	apiErr      *apperr.Error // what the asker sees
	isTransient bool          // another attempt may succeed
	retryAfter  time.Duration // what the server asks for; zero if it does not
	shows       health
}

func (e *callError) Error() string { return e.apiErr.Error() }
func (e *callError) Unwrap() error { return e.apiErr }

// newCallError returns an error that shows an unhealthy server. The cause is only logged.
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
}

// attemptError returns the error of an attempt that failed with err: the cause of callCtx if the
// caller ended it, else the timeout that ended the attempt's own context, else err.
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
	_, isUntrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, isNotTLS := errors.AsType[tls.RecordHeaderError](err)
	e.isTransient = !isUntrusted && !isNotTLS
	return e
}

// readError is the error of a response that could not be read to its end.
func readError(c call, err error, hasText bool) *callError {
	message := "The model server's response could not be read."
	if _, isReported := errors.AsType[reportedError](err); isReported {
		message = "The model server reported an error."
	} else if hasText {
		message = "The model server broke off in the middle of its reply."
	}
	return newCallError("broken_off", c.redact(err), message)
}

// statusError is the error of a response with a status other than 200. Only server errors show an
// unhealthy server: a wrong API key or model concerns one chatbot.
func statusError(response *http.Response, c call) *callError {
	body, _ := io.ReadAll(io.LimitReader(response.Body, 16<<10)) // a partial body may still have the codes
	var reported struct{ Error json.RawMessage }
	_ = json.Unmarshal(body, &reported) // a body that is not JSON has no codes
	cause := c.redact(fmt.Errorf("the model server answered %s, %s", response.Status, errorCodes(reported.Error)))
	status := response.StatusCode
	var e *callError
	switch {
	case status >= 500:
		e = newCallError("failed", cause, "The model server failed.")
		e.isTransient = true
	case status == http.StatusTooManyRequests:
		e = newCallError("rate_limited", cause, "The model server accepts no more requests at the moment.")
		e.isTransient, e.shows = true, healthy
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e = newCallError("unauthorized", cause, "The model server rejected the chatbot's API key.")
		e.shows = healthy
	case status == http.StatusNotFound:
		e = newCallError("unknown", cause, "The model server does not have the chatbot's model, or the base URL is wrong.")
		e.shows = healthy
	case status >= 300 && status < 400:
		e = newCallError("redirected", cause, "The model server redirects to another server, which is not followed.")
		e.shows = healthy
	default:
		e = newCallError("refused", cause, "The model server rejected the request.")
		e.shows = healthy
	}
	e.retryAfter = parseRetryAfter(response.Header.Get("Retry-After"))
	return e
}

// errorCodes returns the type and the code of an error that the server reported, for the log. The
// error's message is left out, because it may quote the user.
func errorCodes(reported json.RawMessage) string {
	var codes struct{ Type, Code any }
	_ = json.Unmarshal(reported, &codes) // an error that is a string has no codes
	return fmt.Sprintf("type %s, code %s", codeOrDash(codes.Type), codeOrDash(codes.Code))
}

// codeOrDash returns a code, or a dash if the value does not look like one.
func codeOrDash(value any) string {
	code := fmt.Sprint(value)
	if value == nil || len(code) > 64 || strings.IndexFunc(code, isNotCode) >= 0 {
		return "-"
	}
	return code
}

func isNotCode(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
}

// parseRetryAfter parses the header Retry-After, which holds seconds or a date. It returns zero for
// anything else.
func parseRetryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds >= 0 && seconds < 1e6 {
		return time.Duration(seconds * float64(time.Second))
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

const redacted = "[API key]"

// redact removes the API key from an error that will be logged, in case the error quotes the
// request.
func (c call) redact(err error) error {
	if c.apiKey == "" {
		return err
	}
	text := strings.ReplaceAll(err.Error(), c.apiKey, redacted)
	// A truncated quotation may end within the key.
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
