package httpapi

import (
	"context"
	"fmt"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
)

// GetRun implements GET /api/runs/{runId}/.
func (a *API) GetRun(ctx context.Context, request openapi.GetRunRequestObject) (openapi.GetRunResponseObject, error) {
	found, err := a.Chat.Run(ctx, auth.PrincipalOf(ctx), request.RunID)
	if err != nil {
		return nil, err
	}
	return openapi.GetRun200JSONResponse(toAPIRun(found)), nil
}

// StreamRun implements GET /api/runs/{runId}/events/.
func (a *API) StreamRun(ctx context.Context, request openapi.StreamRunRequestObject) (openapi.StreamRunResponseObject, error) {
	last := request.Params.After
	if last == nil {
		last = request.Params.LastEventID
	}
	from, err := fromAPIEventID(last)
	if err != nil {
		return nil, err
	}
	reply, err := a.Chat.Resume(ctx, auth.PrincipalOf(ctx), request.RunID)
	if err != nil {
		return nil, err
	}
	return replyStream{ctx: ctx, reply: reply, from: from}, nil
}

// CancelRun implements POST /api/runs/{runId}/cancel/.
func (a *API) CancelRun(ctx context.Context, request openapi.CancelRunRequestObject) (openapi.CancelRunResponseObject, error) {
	ended, err := a.Chat.Cancel(ctx, auth.PrincipalOf(ctx), request.RunID, onceFor(ctx, request.Params.IdempotencyKey))
	if err != nil {
		return nil, err
	}
	return openapi.CancelRun200JSONResponse(toAPIRun(ended)), nil
}

// fromAPIEventID is where the event with that id ended; the beginning for none.
func fromAPIEventID(id *openapi.EventID) (chat.Position, error) {
	var at chat.Position
	if id == nil {
		return at, nil
	}
	_, err := fmt.Sscanf(*id, "%d.%d", &at.Attempt, &at.Offset) // its form was checked
	return at, err
}
