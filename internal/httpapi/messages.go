package httpapi

import (
	"context"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/paging"
)

// messageHandlers implements the operations of messages.
type messageHandlers struct{ chat *chat.Chat }

// ListMessages implements GET /api/messages/.
func (h messageHandlers) ListMessages(ctx context.Context, request openapi.ListMessagesRequestObject) (openapi.ListMessagesResponseObject, error) {
	page, err := h.chat.Messages(ctx, auth.PrincipalOf(ctx), request.Params.Conversation, deref(request.Params.Cursor), deref(request.Params.PageSize))
	if err != nil {
		return nil, err
	}
	results, err := eachOrError(page.Messages, toAPIMessage)
	if err != nil {
		return nil, err
	}
	answer := openapi.ListMessages200JSONResponse{Results: results}
	answer.Next, answer.NextCursor = paging.CursorLink(ctx, page.NextCursor)
	answer.Previous, answer.PreviousCursor = paging.CursorLink(ctx, page.PreviousCursor)
	return answer, nil
}

// CreateMessage implements POST /api/messages/.
func (h messageHandlers) CreateMessage(ctx context.Context, request openapi.CreateMessageRequestObject) (openapi.CreateMessageResponseObject, error) {
	canvas, err := fromAPICanvas(request.Body.Canvas)
	if err != nil {
		return nil, err
	}
	principal := auth.PrincipalOf(ctx)
	isOutgoing := deref(request.Body.Type) == openapi.MessageTypeOutgoing
	sent, err := h.chat.Post(ctx, principal, request.Body.Conversation, isOutgoing, chat.NewMessage{
		Content:        deref(request.Body.Content),
		Attachments:    fromAPIAttachments(request.Body.Attachments),
		ContentPayload: deref(request.Body.ContentPayload),
		QueryMetadata:  deref(request.Body.QueryMetadata),
		Canvas:         canvas,
		IdempotencyKey: contract.IdempotencyKey(ctx, request.Params.IdempotencyKey),
	})
	if err != nil {
		return nil, err
	}
	stored, err := h.chat.Message(ctx, principal, sent.MessageID.String(), nil)
	if err != nil {
		return nil, err
	}
	message, err := toAPIMessage(stored)
	return openapi.CreateMessage201JSONResponse(message), err
}

// GetMessage implements GET /api/messages/{id}/.
func (h messageHandlers) GetMessage(ctx context.Context, request openapi.GetMessageRequestObject) (openapi.GetMessageResponseObject, error) {
	found, err := h.chat.Message(ctx, auth.PrincipalOf(ctx), request.ID, request.Params.Conversation)
	if err != nil {
		return nil, err
	}
	message, err := toAPIMessage(found)
	return openapi.GetMessage200JSONResponse(message), err
}

// SetMessageFeedback implements PUT /api/messages/{id}/feedback/.
func (h messageHandlers) SetMessageFeedback(ctx context.Context, request openapi.SetMessageFeedbackRequestObject) (openapi.SetMessageFeedbackResponseObject, error) {
	var feedback *string
	if given, err := request.Body.Feedback.Get(); err == nil { // an error means null
		feedback = new(string(given))
	}
	rated, err := h.chat.Rate(ctx, auth.PrincipalOf(ctx), request.ID, feedback)
	if err != nil {
		return nil, err
	}
	message, err := toAPIMessage(rated)
	return openapi.SetMessageFeedback200JSONResponse(message), err
}
