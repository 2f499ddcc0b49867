// Package contract enforces the OpenAPI document on every request, and writes every error. Scopes,
// rate limits and schemas are read from the document, so that an operation is described in one
// place only.
//
// A request passes these steps, in this order:
//
//  1. Request ID, panic recovery, metrics, trace and access log: observer.observe in observe.go.
//  2. CORS: allowOrigins in contract.go.
//  3. Path aliases, 405 and OPTIONS: aliases.rewrite in aliases.go.
//  4. Routing: Echo, by the routes generated from the document.
//  5. Authentication and scopes: Contract.authenticate in access.go.
//  6. Rate limit: limitRate in ratelimit.go. Package wsapi limits WebSocket messages, with the same
//     ratelimit.Limiter.
//  7. Query parameters, as far as no schema can describe them: operation.readQuery in query.go.
//  8. Body (media type, size, clean JSON, unsupported fields, spellings): operation.readBody in request.go,
//     with packages jsontext and shape.
//  9. Parameters and body against their schemas: operation.validate in validation.go.
//  10. The handler in package httpapi or openai. It reads the rest of what it needs with RequestOf
//     (request.go) and IdempotencyKey (idempotency.go).
//
// Contract.enforce calls steps 5 to 9. An error from any step, the handler included, is answered by
// failures.handle in failure.go: as a problem document (problem.go), below /v1 in OpenAI's format.
package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/auth"
	"parley/internal/clientaddr"
	"parley/internal/fair"
	"parley/internal/metrics"
	"parley/internal/origin"
	"parley/internal/ratelimit"
	"parley/internal/shape"
	"parley/internal/trace"
)

// Config is what a Contract works with.
type Config struct {
	Auth *auth.Auth
	// Limiter counts requests by the classes of the document's x-rate-limit.
	Limiter *ratelimit.Limiter
	Log     *slog.Logger
	// Requests counts the requests; nil counts nothing.
	Requests *metrics.Requests
	// Traces records a span for each request; nil records nothing.
	Traces *trace.Tracer
	// Origins are the browser origins that may read responses, as origin.Parse returns them.
	Origins []string
	// OpenAIError returns the body of an error response below /v1.
	OpenAIError func(*apperr.Error) any
}

// Contract enforces the document, operation by operation. It is safe for concurrent use.
type Contract struct {
	Config
	operations []*operation
	bodies     *fair.Semaphore
}

// New reads the operations from the document.
func New(config Config) (*Contract, error) {
	document, err := shape.Document()
	if err != nil {
		return nil, err
	}
	c := &Contract{Config: config, bodies: fair.New(bodyMemory)}
	for path, item := range document.Paths.Map() {
		for method, op := range item.Operations() {
			read, err := newOperation(document, method, path, item, op)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			read.metric = config.Requests.Operation(read.id, method)
			c.operations = append(c.operations, read)
		}
	}
	return c, nil
}

// NewEcho returns an Echo with the steps that come before routing, and with the error handler.
func (c *Contract) NewEcho() *echo.Echo {
	e := newEcho(observer{c.Log, c.Requests, c.Traces}, failures{c.OpenAIError, openAIOperations(c.operations)})
	if len(c.Origins) > 0 {
		e.Pre(allowOrigins(c.Origins))
	}
	e.Pre(newAliases(c.operations).rewrite)
	return e
}

// allowOrigins lets pages of these origins read responses. They may send any header: SDKs add new ones,
// such as X-Stainless-Lang, in every release.
func allowOrigins(origins []string) echo.MiddlewareFunc {
	config := middleware.CORSConfig{
		AllowOrigins:  origins,
		AllowMethods:  []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete},
		ExposeHeaders: []string{"X-Request-Id", "X-Run-Id", "Idempotency-Replayed", "Retry-After", "X-Should-Retry", "RateLimit", "RateLimit-Policy", "Content-Disposition"},
		MaxAge:        3600,
	}
	if !slices.Contains(origins, origin.Any) {
		config.AllowOriginFunc = func(sent string) (bool, error) { return origin.IsAllowed(origins, sent), nil }
	}
	return middleware.CORSWithConfig(config)
}

func newEcho(observer observer, failures failures) *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = failures.handle
	e.Pre(observer.observe)
	return e
}

// Starting returns a handler for the time until the service is ready. It answers /healthz and
// refuses everything else as unavailable. Of the config it uses Log and OpenAIError.
func Starting(config Config) http.Handler {
	e := newEcho(observer{log: config.Log}, failures{openAIError: config.OpenAIError})
	e.Pre(func(echo.HandlerFunc) echo.HandlerFunc {
		return func(ec echo.Context) error {
			if ec.Request().URL.Path == "/healthz" {
				return ec.JSON(http.StatusOK, openapi.Health{Status: openapi.HealthStatusOk})
			}
			return &apperr.Error{Kind: apperr.Unavailable, Message: "The service is starting.", RetryAfter: time.Second}
		}
	})
	return e
}

// Middlewares returns the middlewares of each operation, by operationId.
func (c *Contract) Middlewares() map[string][]echo.MiddlewareFunc {
	all := make(map[string][]echo.MiddlewareFunc, len(c.operations))
	for _, op := range c.operations {
		all[op.id] = []echo.MiddlewareFunc{func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(ec echo.Context) error {
				ec.Set(operationKey, op)
				if err := c.enforce(ec, op); err != nil {
					return err
				}
				return next(ec)
			}
		}}
	}
	return all
}

// Identify returns a middleware that only attributes requests to an operation, for metrics and
// traces. It is for routes that need no enforcement.
func (c *Contract) Identify(operationID string) echo.MiddlewareFunc {
	at := slices.IndexFunc(c.operations, func(op *operation) bool { return op.id == operationID })
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(ec echo.Context) error {
			ec.Set(operationKey, c.operations[at])
			return next(ec)
		}
	}
}

// enforce refuses a request that violates the contract. The context of a request that it accepts
// carries the principal and the Request.
func (c *Contract) enforce(ec echo.Context, op *operation) error {
	r := ec.Request()
	principal, err := c.authenticate(ec, op)
	if err != nil {
		return err
	}
	ec.Set(principalKey, principal)
	ctx := auth.WithPrincipal(r.Context(), principal)
	if op.audit != "" {
		ctx = audit.WithActor(ctx, audit.Actor{
			UserID: principal.UserID, KeyID: principal.KeyID, RequestID: logID(ec), CallerRequestID: callerRequestID(ec), Address: clientaddr.Address(r.RemoteAddr).String(),
		})
	}
	if !op.isPublic {
		ec.Response().Header().Set("Cache-Control", "no-store")
	}
	count := c.Limiter.Take
	if op.rateField != "" {
		count = c.Limiter.Peek // whether the request counts depends on its body
	}
	if err := limitRate(ec, op, principal, count); err != nil {
		return err
	}
	if r.URL, err = op.readQuery(r.URL); err != nil {
		return err
	}
	release, err := c.takeBodyMemory(r, op, principal)
	if err != nil {
		return err
	}
	defer release()
	read, err := op.readBody(ec)
	if err != nil {
		return err
	}
	if op.rateField != "" && hasField(read.json, op.rateField) {
		if err := limitRate(ec, op, principal, c.Limiter.Take); err != nil {
			return err
		}
	}
	r = r.WithContext(context.WithValue(ctx, requestKey{}, newRequest(ec, read)))
	if err := op.validate(r, ec, read.validated); err != nil {
		return err
	}
	ec.SetRequest(r)
	return nil
}

// hasField reports whether a JSON object has a field that is not empty.
func hasField(object []byte, name string) bool {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		return false
	}
	value := string(fields[name])
	return value != "" && value != `""` && value != "null"
}
