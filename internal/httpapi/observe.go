package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"parley/internal/auth"
	"parley/internal/trace"
)

// What a request's Echo context holds: its id, and which operation it is, where it is one.
const (
	requestIDKey = "request_id"
	operationKey = "operation"
)

// requestID is the id that the answer carries.
func requestID(ec echo.Context) string {
	id, _ := ec.Get(requestIDKey).(string)
	return id
}

// observe goes around everything: it gives the request its id, turns a panic into
// an error, has errors answered, counts, follows, and writes the line of the log.
func (a *API) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(ec echo.Context) error {
		began := time.Now()
		a.Requests.Begin()
		id := ec.Request().Header.Get("X-Request-Id")
		if !isSane(id) {
			id = uuid.Must(uuid.NewV7()).String()
		}
		ec.Set(requestIDKey, id)
		span := a.follow(ec)
		defer span.End()
		header := ec.Response().Header()
		header.Set("X-Request-Id", id)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		err := catch(next, ec)
		isAborted := errors.Is(err, http.ErrAbortHandler)
		if err != nil && !isAborted {
			ec.Error(err)
		}
		took := time.Since(began)
		op, _ := ec.Get(operationKey).(*operation)
		a.Requests.Done(op.metric(), ec.Response().Status, took)
		if header.Get("Idempotency-Replayed") != "" {
			a.Requests.Replayed()
		}
		if span.IsRecording() {
			tell(span, ec, op, isAborted)
		}
		if isAborted {
			panic(http.ErrAbortHandler)
		}
		a.logRequest(ec, id, took)
		if ec.Response().Status == statusClientGone && !ec.Response().Committed {
			// Whoever has only ended sending may still listen, and would hear an empty 200.
			panic(http.ErrAbortHandler)
		}
		return nil
	}
}

// follow begins to follow a request, where requests are followed. Those who ask over and
// over whether the service is well are not.
func (a *API) follow(ec echo.Context) trace.Span {
	request := ec.Request()
	if a.Traces == nil || request.URL.Path == "/healthz" || request.URL.Path == "/readyz" {
		return trace.Span{}
	}
	ctx, span := a.Traces.StartServer(request.Context(), request.Method, request.Header)
	ec.SetRequest(request.WithContext(ctx))
	return span
}

// tell tells of a request what it was and how it ended. Its path and its query are the
// caller's words, and not told.
func tell(span trace.Span, ec echo.Context, op *operation, isAborted bool) {
	if op != nil {
		span.SetName(op.route.Method + " " + op.route.Path)
		span.SetText("http.route", op.route.Path)
		span.SetText("parley.operation", op.id)
	}
	span.SetText("http.request.method", ec.Request().Method)
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

// logRequest writes the request's line. (Attributes of a known type: pairs of any
// would each be put on the heap.)
func (a *API) logRequest(ec echo.Context, id string, took time.Duration) {
	ctx := ec.Request().Context()
	if !a.Log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	a.Log.LogAttrs(ctx, slog.LevelInfo, "request",
		slog.String("request_id", id),
		slog.String("method", ec.Request().Method),
		slog.String("path", ec.Request().URL.Path),
		slog.Int("status", ec.Response().Status),
		slog.Int64("bytes", ec.Response().Size),
		slog.Float64("ms", float64(took.Microseconds())/1000),
	)
}

// catch runs a handler and turns its panic into an error.
func catch(next echo.HandlerFunc, ec echo.Context) (err error) {
	defer func() {
		switch caught := recover(); {
		case caught == nil:
		case caught == any(http.ErrAbortHandler):
			err = http.ErrAbortHandler
		default:
			err = fmt.Errorf("panic: %v\n%s", caught, debug.Stack())
		}
	}()
	return next(ec)
}

// isSane tells whether a caller's request id can be written to a header and a log.
func isSane(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, b := range []byte(id) {
		isLetter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
		if !isLetter && b != '.' && b != '_' && b != ':' && b != '-' {
			return false
		}
	}
	return true
}

// allowOrigins lets pages of those origins read the answers.
func allowOrigins(origins []string) echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOrigins:  origins,
		AllowMethods:  []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete},
		AllowHeaders:  []string{"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"},
		ExposeHeaders: []string{"X-Request-Id", "X-Run-Id", "Idempotency-Replayed", "Retry-After", "RateLimit", "RateLimit-Policy", "Content-Disposition"},
		MaxAge:        3600,
	})
}
