package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"parley/gen/openapi"
	"parley/internal/apperr"
)

// GetProblem implements GET /problems/{code}.
func (a *API) GetProblem(_ context.Context, request openapi.GetProblemRequestObject) (openapi.GetProblemResponseObject, error) {
	about, ok := kinds[apperr.Kind(request.Code)]
	if !ok {
		return nil, apperr.New(apperr.NotFound, "There is no such problem.")
	}
	return openapi.GetProblem200JSONResponse{
		Code:        openapi.ProblemCode(request.Code),
		Title:       about.title,
		Status:      about.status,
		Description: about.description,
		Retryable:   about.isRetryable,
	}, nil
}

// Starting answers as long as the service starts: it lives, and can do nothing yet.
func Starting(log *slog.Logger) http.Handler {
	server := &API{Config: Config{Log: log}}
	e := echo.New()
	e.HTTPErrorHandler = server.answerError
	e.Pre(server.observe, func(echo.HandlerFunc) echo.HandlerFunc {
		return func(ec echo.Context) error {
			if ec.Request().URL.Path == "/healthz" {
				return ec.JSON(http.StatusOK, openapi.Health{Status: openapi.HealthStatusOk})
			}
			return &apperr.Error{Kind: apperr.Unavailable, Message: "The service is starting.", RetryAfter: time.Second}
		}
	})
	return e
}

// readyTime bounds the look at the database.
const readyTime = 2 * time.Second

// GetHealth implements GET /healthz.
func (a *API) GetHealth(context.Context, openapi.GetHealthRequestObject) (openapi.GetHealthResponseObject, error) {
	return openapi.GetHealth200JSONResponse{Status: openapi.HealthStatusOk}, nil
}

// GetReadiness implements GET /readyz.
func (a *API) GetReadiness(ctx context.Context, _ openapi.GetReadinessRequestObject) (openapi.GetReadinessResponseObject, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if err := a.Ready(ctx); err != nil {
		return nil, &apperr.Error{Kind: apperr.Unavailable, Message: "The service is not ready.", RetryAfter: time.Second, Err: err}
	}
	ready := openapi.GetReadiness200JSONResponse{Status: openapi.ReadinessStatusOk}
	if a.Link != nil {
		ready.Redis = new(openapi.ReadinessRedisOk)
		if a.Link.Unavailable() {
			*ready.Redis = openapi.ReadinessRedisAway
		}
	}
	return ready, nil
}
