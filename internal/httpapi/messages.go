package httpapi

import (
	"context"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
)

// ListMessages implements GET /api/messages/.
func (a *API) ListMessages(ctx context.Context, request openapi.ListMessagesRequestObject) (openapi.ListMessagesResponseObject, error) {
	page, err := a.Chat.Messages(ctx, auth.PrincipalOf(ctx), request.Params.Conversation, deref(request.Params.Cursor), deref(request.Params.PageSize))
	if err != nil {
		return nil, err
	}
	results, err := eachOrError(page.Messages, toAPIMessage)
	if err != nil {
		return nil, err
	}
	answer := openapi.ListMessages200JSONResponse{Results: results}
	answer.Next, answer.NextCursor = cursorLink(ctx, page.NextCursor)
	answer.Previous, answer.PreviousCursor = cursorLink(ctx, page.PreviousCursor)
	return answer, nil
}

// CreateMessage implements POST /api/messages/.
func (a *API) CreateMessage(ctx context.Context, request openapi.CreateMessageRequestObject) (openapi.CreateMessageResponseObject, error) {
	canvas, err := fromAPICanvas(request.Body.Canvas)
	if err != nil {
		return nil, err
	}
	who := auth.PrincipalOf(ctx)
	isOutgoing := deref(request.Body.Type) == openapi.MessageTypeOutgoing
	sent, err := a.Chat.Post(ctx, who, request.Body.Conversation, isOutgoing, chat.NewMessage{
		Content:        deref(request.Body.Content),
		Attachments:    fromAPIAttachments(request.Body.Attachments),
		ContentPayload: deref(request.Body.ContentPayload),
		QueryMetadata:  deref(request.Body.QueryMetadata),
		Canvas:         canvas,
		IdempotencyKey: onceFor(ctx, request.Params.IdempotencyKey),
	})
	if err != nil {
		return nil, err
	}
	stored, err := a.Chat.Message(ctx, who, sent.MessageID.String(), nil)
	if err != nil {
		return nil, err
	}
	message, err := toAPIMessage(stored)
	return openapi.CreateMessage201JSONResponse(message), err
}

// GetMessage implements GET /api/messages/{id}/.
func (a *API) GetMessage(ctx context.Context, request openapi.GetMessageRequestObject) (openapi.GetMessageResponseObject, error) {
	found, err := a.Chat.Message(ctx, auth.PrincipalOf(ctx), request.ID, request.Params.Conversation)
	if err != nil {
		return nil, err
	}
	message, err := toAPIMessage(found)
	return openapi.GetMessage200JSONResponse(message), err
}

// SetMessageFeedback implements PUT /api/messages/{id}/feedback/.
func (a *API) SetMessageFeedback(ctx context.Context, request openapi.SetMessageFeedbackRequestObject) (openapi.SetMessageFeedbackResponseObject, error) {
	var feedback *string
	if given, err := request.Body.Feedback.Get(); err == nil { // an error is null
		feedback = new(string(given))
	}
	rated, err := a.Chat.Rate(ctx, auth.PrincipalOf(ctx), request.ID, feedback)
	if err != nil {
		return nil, err
	}
	message, err := toAPIMessage(rated)
	return openapi.SetMessageFeedback200JSONResponse(message), err
}
