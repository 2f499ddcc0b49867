package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

const requestIDKey = "request_id"

// requestID is the id that the answer carries.
func requestID(ec echo.Context) string {
	id, _ := ec.Get(requestIDKey).(string)
	return id
}

// observe goes around everything: it gives the request its id, turns a panic into
// an error, has errors answered, and writes the line of the log.
func (a *API) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(ec echo.Context) error {
		began := time.Now()
		id := ec.Request().Header.Get("X-Request-Id")
		if !isSane(id) {
			id = uuid.Must(uuid.NewV7()).String()
		}
		ec.Set(requestIDKey, id)
		header := ec.Response().Header()
		header.Set("X-Request-Id", id)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		if err := catch(next, ec); err != nil {
			if errors.Is(err, http.ErrAbortHandler) {
				panic(http.ErrAbortHandler)
			}
			ec.Error(err)
		}
		a.Log.Info("request",
			"request_id", id,
			"method", ec.Request().Method,
			"path", ec.Request().URL.Path,
			"status", ec.Response().Status,
			"bytes", ec.Response().Size,
			"ms", float64(time.Since(began).Microseconds())/1000,
		)
		return nil
	}
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
