package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"parley/gen/openapi"
	"parley/internal/apperr"
)

// kind is what the contract says of a kind of failure.
type kind struct {
	status      int
	title       string
	description string
	isRetryable bool
}

// kinds is the one table of failures: what each answers with, and what
// GET /problems/{code} says of it.
var kinds = map[apperr.Kind]kind{
	apperr.InvalidMessage:       {400, "Invalid message", "Something in the message's own fields is malformed; errors has an entry for each mistake.", false},
	apperr.InvalidRequest:       {400, "Invalid request", "The body or a parameter is malformed; errors has an entry for each mistake.", false},
	apperr.Unauthorized:         {401, "Unauthorized", "No API key, client token or ticket was sent, or it is unknown, used, revoked or expired.", false},
	apperr.Forbidden:            {403, "Forbidden", "The API key lacks a scope, the conversation is somebody else's, or the client token is not for this.", false},
	apperr.NotFound:             {404, "Not found", "What was asked for does not exist, or not for this organization.", false},
	apperr.MethodNotAllowed:     {405, "Method not allowed", "The path exists, the method does not; Allow lists those that do.", false},
	apperr.Conflict:             {409, "Conflict", "The request does not go with what is there; detail says why.", false},
	apperr.TooLarge:             {413, "Too large", "The body, the upload or the message is over its limit.", false},
	apperr.UnsupportedMediaType: {415, "Unsupported media type", "The body is not of the content type that the operation takes.", false},
	apperr.Unprocessable:        {422, "Unprocessable", "The Idempotency-Key was used before with another body.", false},
	apperr.RateLimited:          {429, "Rate limited", "Too many requests; try again after Retry-After seconds.", true},
	apperr.Internal:             {500, "Internal error", "The server made a mistake; request_id finds it in the server's log.", true},
	apperr.UpstreamFailed:       {502, "Upstream failed", "The model behind the bot failed.", true},
	apperr.Unavailable:          {503, "Unavailable", "The service cannot do this at the moment; try again after Retry-After seconds.", true},
	apperr.Timeout:              {504, "Timeout", "The answer took too long.", true},
}

// statusClientGone is what the log says of a request whose caller has left.
const statusClientGone = 499

// answerError answers with whatever went wrong. It is the one place that does, for
// every route.
func (a *API) answerError(err error, ec echo.Context) {
	told := faultOf(err, ec)
	request := ec.Request()
	level := slog.LevelInfo
	if told.Kind == apperr.Internal {
		level = slog.LevelError
	}
	isGone := errors.Is(err, context.Canceled) && request.Context().Err() != nil
	if isGone {
		level = slog.LevelInfo
	}
	a.Log.Log(request.Context(), level, "request failed", "request_id", requestID(ec), "error", err)
	if ec.Response().Committed {
		return
	}
	if isGone {
		ec.Response().Status = statusClientGone
		return
	}
	hasRest := boundRest(ec)
	writeFailure(ec, told)
	if hasRest && request.Header.Get("Expect") == "" {
		drain(ec)
	}
}

// faultOf finds the fault in an error: the domain's own, or one of Echo's.
func faultOf(err error, ec echo.Context) *apperr.Error {
	if told, ok := errors.AsType[*apperr.Error](err); ok {
		return told
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return apperr.Wrap(apperr.TooLarge, "The upload may have 32 MiB.", err)
	}
	if routed, ok := errors.AsType[*echo.HTTPError](err); ok {
		switch routed.Code {
		case http.StatusNotFound:
			return apperr.Wrap(apperr.NotFound, "There is nothing at this path.", err)
		case http.StatusMethodNotAllowed:
			return apperr.Wrap(apperr.MethodNotAllowed, "This path does not take "+ec.Request().Method+".", err)
		case http.StatusBadRequest:
			return apperr.Wrap(apperr.InvalidRequest, "The request is not valid.", err)
		case http.StatusUnsupportedMediaType:
			return apperr.Wrap(apperr.UnsupportedMediaType, "The body is of a content type that this does not take.", err)
		}
	}
	return apperr.Wrap(apperr.Internal, "The server made a mistake. It has been noted.", err)
}

// problemOf is the problem document of a fault.
func problemOf(told *apperr.Error, id string) openapi.Problem {
	about := kinds[told.Kind]
	problem := openapi.Problem{
		Type:      "/problems/" + string(told.Kind),
		Title:     about.title,
		Status:    about.status,
		Detail:    told.Message,
		Error:     openapi.ProblemCode(told.Kind),
		RequestID: id,
		Retryable: about.isRetryable || told.RetryAfter > 0,
	}
	if len(told.Violations) > 0 {
		items := make([]openapi.ProblemItem, len(told.Violations))
		for i, item := range told.Violations {
			items[i] = openapi.ProblemItem{In: openapi.ProblemItemIn(item.In), Detail: item.Detail}
			if item.In == "body" {
				items[i].Pointer = &item.Pointer
			} else {
				items[i].Parameter = &item.Parameter
			}
		}
		problem.Errors = &items
	}
	if told.RetryAfter > 0 {
		problem.RetryAfter = new(seconds(told.RetryAfter))
	}
	return problem
}

// seconds rounds up: after so many whole seconds the next try may succeed.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// writeFailure writes a problem document, and below /v1 OpenAI's error.
func writeFailure(ec echo.Context, told *apperr.Error) {
	problem := problemOf(told, requestID(ec))
	header := ec.Response().Header()
	header.Del("Idempotency-Replayed") // a failure is not kept: one that waited with another request fails by itself
	if told.Kind == apperr.Unauthorized {
		header.Set("WWW-Authenticate", `Bearer realm="parley", Api-Key realm="parley"`)
	}
	if problem.RetryAfter != nil {
		header.Set("Retry-After", strconv.Itoa(*problem.RetryAfter))
	}
	var body any = problem
	header.Set("Content-Type", "application/problem+json")
	if speaksOpenAI(ec.Request()) {
		body = openAIErrorOf(told)
		header.Set("Content-Type", "application/json")
	}
	ec.Response().WriteHeader(problem.Status)
	if ec.Request().Method == http.MethodHead {
		return
	}
	encoder := json.NewEncoder(ec.Response())
	encoder.SetEscapeHTML(false)
	// A caller that cannot be written to has left.
	_ = encoder.Encode(body)
}

const (
	// maxDrain is how much of a refused body is still read: an ordinary client sends
	// all of it before it looks at the answer.
	maxDrain  = 48 << 20
	drainTime = 3 * time.Second
)

// boundRest bounds how long the rest of the request's body is waited for, where it has
// one: net/http reads some of it before it sends the answer's header, and when the handler
// has returned.
func boundRest(ec echo.Context) (hasRest bool) {
	body := ec.Request().Body
	if body == nil || body == http.NoBody {
		return false
	}
	// Where it cannot be done, net/http waits as long as for any body.
	_ = http.NewResponseController(ec.Response()).SetReadDeadline(time.Now().Add(drainTime))
	return true
}

// drain sends the answer and reads some of what the caller is still sending. The deadline
// is left as it is: net/http sets its own for a next request.
func drain(ec echo.Context) {
	// What follows is a courtesy: where it cannot be done the connection just ends.
	_ = http.NewResponseController(ec.Response()).Flush()
	boundRest(ec)
	_, _ = io.CopyN(io.Discard, ec.Request().Body, maxDrain)
}
