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

// What askers are told: never in the server's words, which may quote the question, the instructions or the key.
var (
	errCoolingDown = apperr.New(apperr.UpstreamFailed, "The model server has failed several times in a row; it is asked again in a moment.")
	errNoFirst     = apperr.New(apperr.Timeout, "The model server did not begin to answer in time.")
	errSilent      = apperr.New(apperr.Timeout, "The model server fell silent in the middle of its reply.")
	errTooLong     = apperr.New(apperr.Timeout, "The model server took too long over its reply.")
	// errNoUsage is never told: the reply is there.
	errNoUsage = errors.New("the usage did not come")
)

// failure is an attempt that came to nothing.
type failure struct {
	kind      string // one of failureKinds
	told      *apperr.Error
	isPassing bool          // another attempt may do better
	wait      time.Duration // which the server asks for
	shows     verdict
}

func (f *failure) Error() string { return f.told.Error() }
func (f *failure) Unwrap() error { return f.told }

func failed(kind string, private error, sentence string) *failure {
	return &failure{kind: kind, told: apperr.Wrap(apperr.UpstreamFailed, sentence, private), shows: isDown}
}

// tooLate are the failures of a server that does not keep to our patiences.
var tooLate = map[*apperr.Error]string{errNoFirst: "no_first_token", errSilent: "silent", errTooLong: "too_long"}

// coolingDown is that of a server that is not even asked.
const coolingDown = "cooling_down"

// failureKinds are the ways in which asking a server can fail, in one word each.
var failureKinds = []string{
	coolingDown, "no_first_token", "silent", "too_long", "unreached", "broken_off", "failed", "rate_limited", "unauthorized", "unknown", "redirected", "refused",
}

// ended is why an attempt ended: the caller's reason where it was the caller's, one of our patiences, else otherwise.
func ended(ctx, whole context.Context, otherwise *failure) error {
	if whole.Err() != nil {
		cause := context.Cause(whole)
		if errors.Is(cause, errTooLong) {
			return &failure{kind: tooLate[errTooLong], told: errTooLong, shows: isDown}
		}
		return cause
	}
	if told, ok := errors.AsType[*apperr.Error](context.Cause(ctx)); ok {
		return &failure{kind: tooLate[told], told: told, shows: isDown}
	}
	return otherwise
}

// unreached is a request that had no answer. What is wrong with a certificate does not pass.
func unreached(c call, err error) *failure {
	f := failed("unreached", c.private(err), "The model server cannot be reached.")
	_, isUntrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, isPlain := errors.AsType[tls.RecordHeaderError](err)
	f.isPassing = !isUntrusted && !isPlain
	return f
}

// spoilt is an answer that could not be read to its end.
func spoilt(c call, err error, hasBegun bool) *failure {
	sentence := "The model server's answer could not be read."
	if _, isReported := errors.AsType[errReported](err); isReported {
		sentence = "The model server reports an error."
	} else if hasBegun {
		sentence = "The model server broke off in the middle of its reply."
	}
	return failed("broken_off", c.private(err), sentence)
}

// refused is an answer with a status other than 200. Only the server's own trouble shows that it is not well: a wrong
// key or model is one chatbot's.
func refused(response *http.Response, c call) *failure {
	answer, _ := io.ReadAll(io.LimitReader(response.Body, 16<<10)) // as much as there is
	var said struct{ Error json.RawMessage }
	_ = json.Unmarshal(answer, &said) // what is no JSON says nothing
	private := c.private(fmt.Errorf("the model server answered %s, %s", response.Status, codesOf(said.Error)))
	status := response.StatusCode
	var f *failure
	switch {
	case status >= 500:
		f = failed("failed", private, "The model server failed.")
		f.isPassing = true
	case status == http.StatusTooManyRequests:
		f = failed("rate_limited", private, "The model server takes no more requests at the moment.")
		f.isPassing, f.shows = true, isWell
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		f = failed("unauthorized", private, "The model server does not accept the chatbot's API key.")
		f.shows = isWell
	case status == http.StatusNotFound:
		f = failed("unknown", private, "The model server does not know the chatbot's model, or its base URL is wrong.")
		f.shows = isWell
	case status >= 300 && status < 400:
		f = failed("redirected", private, "The model server redirects to another one, which is not followed.")
		f.shows = isWell
	default:
		f = failed("refused", private, "The model server refused the request.")
		f.shows = isWell
	}
	f.wait = retryAfter(response.Header.Get("Retry-After"))
	return f
}

// codesOf is what is logged of an error that the server tells: its type and its code. Its sentences may repeat what the
// user has said.
func codesOf(reported json.RawMessage) string {
	var codes struct{ Type, Code any }
	_ = json.Unmarshal(reported, &codes) // a mere sentence has none
	return fmt.Sprintf("type %s, code %s", nameOr(codes.Type), nameOr(codes.Code))
}

// nameOr is a code as servers have them; - stands for anything else.
func nameOr(code any) string {
	name := fmt.Sprint(code)
	if code == nil || len(name) > 64 || strings.IndexFunc(name, isNoCode) >= 0 {
		return "-"
	}
	return name
}

func isNoCode(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
}

// retryAfter reads the header of that name, as seconds or as a date; zero when it says nothing.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds >= 0 && seconds < 1e6 {
		return time.Duration(seconds * float64(time.Second))
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// private keeps the API key out of an error that is logged, whoever repeats it.
func (c call) private(err error) error {
	if c.apiKey == "" {
		return err
	}
	text := strings.ReplaceAll(err.Error(), c.apiKey, "[API key]")
	// What was quoted of an answer may end within the key.
	for n := len(c.apiKey) - 1; n >= 4; n-- {
		if before, isCut := strings.CutSuffix(text, c.apiKey[:n]); isCut {
			text = before + "[API key]"
			break
		}
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}
