package contract

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"parley/internal/auth"
	"parley/internal/clientaddr"
)

// maxLogged bounds what a caller can write into one attribute of the log, in bytes.
const maxLogged = 128

// logRequest writes the one line of a request. It names the route, not the path, whose IDs may be
// personal data. Typed attributes allocate less than pairs of any.
func (o observer) logRequest(ec echo.Context, took time.Duration) {
	op, _ := ec.Get(operationKey).(*operation)
	failed, _ := ec.Get(failureKey).(failure)
	level := levelOf(ec.Request(), failed)
	ctx := ec.Request().Context()
	if !o.log.Enabled(ctx, level) {
		return
	}
	attributes := make([]slog.Attr, 0, 16)
	attributes = append(attributes,
		slog.String("request_id", logID(ec)),
		slog.String("method", ec.Request().Method),
		slog.String("route", routeOf(ec, op)),
		slog.Int("status", ec.Response().Status),
		slog.Int64("bytes", ec.Response().Size),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("address", clientaddr.Address(ec.Request().RemoteAddr).String()),
	)
	if op != nil {
		attributes = append(attributes, slog.String("operation", op.id))
	}
	attributes = appendCaller(attributes, ec)
	if failed.cause != nil {
		attributes = append(attributes, slog.String("error", failed.code), slog.Any("err", failed.cause))
	}
	o.log.LogAttrs(ctx, level, "request", attributes...)
}

// levelOf returns the level of a request: error if the server is at fault, and debug for probes.
func levelOf(r *http.Request, failed failure) slog.Level {
	switch {
	case failed.code == "internal":
		return slog.LevelError
	case isProbe(r) && failed.cause == nil:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// isProbe reports whether a request is a health check.
func isProbe(r *http.Request) bool { return r.URL.Path == "/healthz" || r.URL.Path == "/readyz" }

// appendCaller appends attributes of the caller: the caller's own request ID, the key and its organization or the
// prefix of a refused key, and the user agent.
func appendCaller(attributes []slog.Attr, ec echo.Context) []slog.Attr {
	if id := callerRequestID(ec); id != "" {
		attributes = append(attributes, slog.String("caller_request_id", id))
	}
	if principal, ok := ec.Get(principalKey).(auth.Principal); ok && principal.OrganizationID != uuid.Nil {
		attributes = append(attributes, slog.String("organization_id", principal.OrganizationID.String()), slog.String("key_id", principal.KeyID.String()))
	}
	if prefix, ok := ec.Get(keyPrefixKey).(string); ok && prefix != "" {
		attributes = append(attributes, slog.String("key_prefix", prefix))
	}
	if agent := ec.Request().UserAgent(); agent != "" {
		attributes = append(attributes, slog.String("agent", strings.ToValidUTF8(agent[:min(len(agent), maxLogged)], "")))
	}
	return attributes
}

// routeOf returns the route of an operation, or the beginning of the path if the request matches no operation.
func routeOf(ec echo.Context, op *operation) string {
	if op != nil {
		return op.route.Path
	}
	segments := strings.SplitN(ec.Request().URL.Path, "/", 4)
	if len(segments) == 4 {
		segments[3] = "…"
	}
	path := strings.Join(segments, "/")
	return strings.ToValidUTF8(path[:min(len(path), maxLogged)], "")
}

// logID returns the ID of a request in the log and the audit trail. It is always the server's own:
// callers may send the same X-Request-Id twice.
func logID(ec echo.Context) string {
	id, _ := ec.Get(logIDKey).(string)
	return id
}

// callerRequestID returns the caller's own ID of a request, or "".
func callerRequestID(ec echo.Context) string {
	if id := requestID(ec); id != logID(ec) {
		return id
	}
	return ""
}
