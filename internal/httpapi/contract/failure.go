package contract

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"parley/internal/apperr"
)

// statusClientGone is the logged status of a request whose client has disconnected.
const statusClientGone = 499

const (
	invalidRequest = "The request is not valid."
	noSuchPath     = "There is nothing at this path."
)

func noSuchMethod(r *http.Request) string { return "This path does not support " + methodOf(r) + "." }

// failures writes the responses to failed requests of every route.
type failures struct {
	openAIError      func(*apperr.Error) any
	openAIOperations []string // the existing paths, for hints
}

// failure is the error of a request, for its log line.
type failure struct {
	code  string // the problem's code; "" if the client has disconnected
	cause error
}

// handle is Echo's error handler. It keeps the error for the log, writes the response unless one has
// begun, and reads a bounded part of a body that was refused unread.
func (f failures) handle(err error, ec echo.Context) {
	appErr := toAppError(err, ec.Request())
	if appErr.Message == noSuchPath && isOpenAIPath(ec.Request().URL.Path) {
		appErr = apperr.Wrap(apperr.NotFound, f.noSuchOpenAIPath(ec.Request()), err)
	}
	request := ec.Request()
	isGone := errors.Is(err, context.Canceled) && request.Context().Err() != nil
	failed := failure{code: string(appErr.Kind), cause: err}
	if isGone {
		failed.code = ""
	}
	ec.Set(failureKey, failed)
	if ec.Response().Committed {
		return
	}
	if isGone {
		ec.Response().Status = statusClientGone
		return
	}
	hasBody := boundBodyRead(ec)
	f.write(ec, appErr)
	if hasBody && request.Header.Get("Expect") == "" {
		drain(ec)
	}
}

// toAppError returns the apperr.Error in an error, or converts an error of Echo or net/http. All
// others are internal.
func toAppError(err error, r *http.Request) *apperr.Error {
	if appErr, ok := errors.AsType[*apperr.Error](err); ok {
		return appErr
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return apperr.Wrap(apperr.TooLarge, uploadTooLarge, err)
	}
	if httpErr, ok := errors.AsType[*echo.HTTPError](err); ok {
		switch httpErr.Code {
		case http.StatusNotFound:
			return apperr.Wrap(apperr.NotFound, noSuchPath, err)
		case http.StatusMethodNotAllowed:
			return apperr.Wrap(apperr.MethodNotAllowed, noSuchMethod(r), err)
		case http.StatusBadRequest:
			return apperr.Wrap(apperr.InvalidRequest, invalidRequest, err)
		case http.StatusUnsupportedMediaType:
			return apperr.Wrap(apperr.UnsupportedMediaType, "The operation does not accept this Content-Type.", err)
		}
	}
	return apperr.WrapInternal(err)
}

// located returns an error with a violation in the body or the query if it is a 400 without any, so
// that every 400 says which part of the request is invalid.
func located(appErr *apperr.Error, r *http.Request) *apperr.Error {
	if Kinds[appErr.Kind].Status != http.StatusBadRequest || len(appErr.Violations) > 0 {
		return appErr
	}
	violation := apperr.Violation{In: "body", Detail: strings.ToLower(appErr.Message[:1]) + strings.TrimSuffix(appErr.Message[1:], ".")}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](appErr.Err); ok {
		violation.Pointer = "/" + strings.ReplaceAll(wrong.Field, ".", "/")
	}
	if r.Method == http.MethodGet || r.Method == http.MethodDelete {
		violation.In = "query"
	}
	changed := *appErr
	changed.Violations = []apperr.Violation{violation}
	return &changed
}

// write writes a problem document, or OpenAI's error format below /v1.
func (f failures) write(ec echo.Context, appErr *apperr.Error) {
	problem := ProblemOf(located(appErr, ec.Request()), requestID(ec))
	header := ec.Response().Header()
	header.Del("Idempotency-Replayed") // errors are not stored, so this one is not a replay
	if appErr.Kind == apperr.Unauthorized {
		header.Set("WWW-Authenticate", `Bearer realm="parley", Api-Key realm="parley"`)
	}
	if problem.RetryAfter != nil {
		header.Set("Retry-After", strconv.Itoa(*problem.RetryAfter))
	}
	if appErr.Kind == apperr.UpstreamFailed || appErr.Kind == apperr.Timeout {
		header.Set("X-Should-Retry", "false") // the request to the model server was already retried
	}
	var body any = problem
	header.Set("Content-Type", "application/problem+json")
	if isOpenAIPath(ec.Request().URL.Path) {
		body = f.openAIError(appErr)
		header.Set("Content-Type", "application/json")
	}
	ec.Response().WriteHeader(problem.Status)
	encoder := json.NewEncoder(ec.Response())
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // fails only if the client has disconnected
}

const (
	// maxDrain is how much of a refused body is read. Ordinary clients send all of it before they
	// read the response.
	maxDrain     = 48 << 20
	drainTimeout = 3 * time.Second
)

// boundBodyRead bounds the time for reading the rest of the body, and reports whether the request
// has one. net/http reads a part of it before it sends the response header and after the handler.
func boundBodyRead(ec echo.Context) bool {
	body := ec.Request().Body
	if body == nil || body == http.NoBody {
		return false
	}
	// If this fails, the server's ReadTimeout applies.
	_ = http.NewResponseController(ec.Response()).SetReadDeadline(time.Now().Add(drainTimeout))
	return true
}

// drain sends the response and then reads what the client is still sending, best effort. It does
// not reset the read deadline: net/http sets a new one for the next request.
func drain(ec echo.Context) {
	_ = http.NewResponseController(ec.Response()).Flush()
	boundBodyRead(ec)
	_, _ = io.CopyN(io.Discard, ec.Request().Body, maxDrain)
}
