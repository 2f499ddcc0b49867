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
	outcomes, err := a.Chat.Batch(ctx, auth.PrincipalOf(ctx), wanted)
	if err != nil {
		return nil, err
	}
	results := toAPIOperationResults(request.Body.Operations, outcomes, callOf(ctx).id)
	return openapi.BatchConversations200JSONResponse{Results: results}, nil
}
