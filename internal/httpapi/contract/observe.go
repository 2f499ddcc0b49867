package contract

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"parley/internal/auth"
	"parley/internal/metrics"
	"parley/internal/store"
	"parley/internal/trace"
)

// Keys of the values in an Echo context: the request ID of the response and that of the log, and where
// there is one, the operation, the principal, the prefix of a refused key, and the failure.
const (
	requestIDKey = "request_id"
	logIDKey     = "log_id"
	operationKey = "operation"
	principalKey = "principal"
	keyPrefixKey = "key_prefix"
	failureKey   = "failure"
)

func requestID(ec echo.Context) string {
	id, _ := ec.Get(requestIDKey).(string)
	return id
}

// observer is the outermost middleware.
type observer struct {
	log      *slog.Logger
	requests *metrics.Requests // may be nil
	traces   *trace.Tracer     // may be nil
}

// observe assigns the request ID, turns panics into errors, passes errors to the error handler, and records the
// request in metrics, trace and log.
func (o observer) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(ec echo.Context) error {
		began := time.Now()
		o.requests.Begin()
		id := store.NewID().String()
		ec.Set(logIDKey, id)
		if wanted := ec.Request().Header.Get("X-Request-Id"); isValidRequestID(wanted) {
			id = wanted
		}
		ec.Set(requestIDKey, id)
		span := o.startSpan(ec)
		defer span.End()
		header := ec.Response().Header()
		header.Set("X-Request-Id", id)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		err := recoverPanic(next, ec)
		isAborted := errors.Is(err, http.ErrAbortHandler)
		if err != nil && !isAborted {
			ec.Error(err)
		}
		took := time.Since(began)
		op, _ := ec.Get(operationKey).(*operation)
		o.requests.Done(metricOf(op), ec.Response().Status, took)
		if header.Get("Idempotency-Replayed") != "" {
			o.requests.Replayed()
		}
		if span.IsRecording() {
			describe(span, ec, op, isAborted)
		}
		o.logRequest(ec, took)
		if isAborted {
			panic(http.ErrAbortHandler)
		}
		if ec.Response().Status == statusClientGone && !ec.Response().Committed {
			// A client that has only closed its sending side must not receive an empty 200.
			panic(http.ErrAbortHandler)
		}
		return nil
	}
}

// startSpan starts the span of a request. Health checks are not traced.
func (o observer) startSpan(ec echo.Context) trace.Span {
	request := ec.Request()
	if o.traces == nil || isProbe(request) {
		return trace.Span{}
	}
	ctx, span := o.traces.StartServer(request.Context(), request.Method, request.Header)
	ec.SetRequest(request.WithContext(ctx))
	return span
}

// describe adds the operation and the outcome to a span. It omits the path and the query, which contain data of the
// caller.
func describe(span trace.Span, ec echo.Context, op *operation, isAborted bool) {
	if op != nil {
		span.SetName(op.route.Method + " " + op.route.Path)
		span.SetText("http.route", op.route.Path)
		span.SetText("parley.operation", op.id)
	}
	span.SetText("http.request.method", methodOf(ec.Request()))
	span.SetText("parley.request.id", requestID(ec))
	span.SetID("parley.organization.id", auth.PrincipalOf(ec.Request().Context()).OrganizationID)
	status := ec.Response().Status
	span.SetNumber("http.response.status_code", status)
	switch {
	case isAborted:
		span.Fail("aborted")
	case status >= http.StatusInternalServerError:
		span.Fail(strconv.Itoa(status))
	}
}

// recoverPanic calls a handler and turns a panic into an error.
func recoverPanic(next echo.HandlerFunc, ec echo.Context) (err error) {
	defer func() {
		switch value := recover(); {
		case value == nil:
		case value == any(http.ErrAbortHandler):
			err = http.ErrAbortHandler
		default:
			err = fmt.Errorf("panic: %v\n%s", value, debug.Stack())
		}
	}()
	return next(ec)
}

// isValidRequestID reports whether a caller's request ID is safe in headers and logs.
func isValidRequestID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, b := range []byte(id) {
		isAlphanumeric := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
		if !isAlphanumeric && b != '.' && b != '_' && b != ':' && b != '-' {
			return false
		}
	}
	return true
}
