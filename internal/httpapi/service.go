package httpapi

import (
	"context"
	"time"

	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/httpapi/contract"
	"parley/internal/realtime"
)

// serviceHandlers implements the operations about the service itself.
type serviceHandlers struct {
	ready func(context.Context) error
	link  *realtime.Redis // nil without Redis
}

// GetProblem implements GET /problems/{code}.
func (h serviceHandlers) GetProblem(_ context.Context, request openapi.GetProblemRequestObject) (openapi.GetProblemResponseObject, error) {
	kind, ok := contract.Kinds[apperr.Kind(request.Code)]
	if !ok {
		return nil, apperr.New(apperr.NotFound, "There is no such problem.")
	}
	return openapi.GetProblem200JSONResponse{
		Code:        openapi.ProblemCode(request.Code),
		Title:       kind.Title,
		Status:      kind.Status,
		Description: kind.Description,
		Retryable:   kind.IsRetryable,
	}, nil
}

// GetHealth implements GET /healthz.
func (h serviceHandlers) GetHealth(context.Context, openapi.GetHealthRequestObject) (openapi.GetHealthResponseObject, error) {
	return openapi.GetHealth200JSONResponse{Status: openapi.HealthStatusOk}, nil
}

// readyTimeout bounds the check of the database.
const readyTimeout = 2 * time.Second

// GetReadiness implements GET /readyz.
func (h serviceHandlers) GetReadiness(ctx context.Context, _ openapi.GetReadinessRequestObject) (openapi.GetReadinessResponseObject, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := h.ready(ctx); err != nil {
		return nil, &apperr.Error{Kind: apperr.Unavailable, Message: "The service is not ready.", RetryAfter: time.Second, Err: err}
	}
	ready := openapi.GetReadiness200JSONResponse{Status: openapi.ReadinessStatusOk}
	if h.link != nil {
		ready.Redis = new(openapi.ReadinessRedisOk)
		if h.link.Unavailable() {
			*ready.Redis = openapi.ReadinessRedisAway
		}
	}
	return ready, nil
}
