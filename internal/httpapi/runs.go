package httpapi

import (
	"context"
	"fmt"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/httpapi/contract"
	"parley/internal/reply"
)

// runHandlers implements the operations of runs.
type runHandlers struct{ chat *chat.Chat }

// GetRun implements GET /api/runs/{runId}/.
func (h runHandlers) GetRun(ctx context.Context, request openapi.GetRunRequestObject) (openapi.GetRunResponseObject, error) {
	found, err := h.chat.Run(ctx, auth.PrincipalOf(ctx), request.RunID)
	return openapi.GetRun200JSONResponse(toAPIRun(found)), err
}

// StreamRun implements GET /api/runs/{runId}/events/.
func (h runHandlers) StreamRun(ctx context.Context, request openapi.StreamRunRequestObject) (openapi.StreamRunResponseObject, error) {
	last := request.Params.After
	if last == nil {
		last = request.Params.LastEventID
	}
	from, err := fromAPIEventID(last)
	if err != nil {
		return nil, err
	}
	reply, err := h.chat.Resume(ctx, auth.PrincipalOf(ctx), request.RunID)
	if err != nil {
		return nil, err
	}
	if reply.HasEnded(from) {
		return openapi.StreamRun204Response{}, nil
	}
	return completionStream{ctx: ctx, reply: reply, from: from}, nil
}

// CancelRun implements POST /api/runs/{runId}/cancel/.
func (h runHandlers) CancelRun(ctx context.Context, request openapi.CancelRunRequestObject) (openapi.CancelRunResponseObject, error) {
	run, err := h.chat.Cancel(ctx, auth.PrincipalOf(ctx), request.RunID, contract.IdempotencyKey(ctx, request.Params.IdempotencyKey))
	return openapi.CancelRun200JSONResponse(toAPIRun(run)), err
}

// fromAPIEventID returns the position after the event with that ID, or the beginning if id is nil.
func fromAPIEventID(id *openapi.EventID) (reply.Position, error) {
	var at reply.Position
	if id == nil {
		return at, nil
	}
	_, err := fmt.Sscanf(*id, "%d.%d", &at.Attempt, &at.Offset) // validation has checked the form
	return at, err
}
