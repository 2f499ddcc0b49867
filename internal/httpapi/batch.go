package httpapi

import (
	"context"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
)

// BatchConversations implements POST /api/conversations/batch.
func (a *API) BatchConversations(ctx context.Context, request openapi.BatchConversationsRequestObject) (openapi.BatchConversationsResponseObject, error) {
	wanted := each(request.Body.Operations, func(operation openapi.ConversationOperation) chat.Operation {
		return chat.Operation{Action: string(operation.Action), ConversationID: operation.ConversationID}
	})
	key := onceFor(ctx, request.Params.IdempotencyKey)
	outcomes, err := a.Chat.Batch(ctx, auth.PrincipalOf(ctx), callOf(ctx).id, wanted, key)
	if err != nil {
		return nil, err
	}
	return openapi.BatchConversations200JSONResponse{Results: toAPIOperationResults(request.Body.Operations, outcomes)}, nil
}
