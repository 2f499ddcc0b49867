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
	isOutgoing := deref(request.Body.Type) == openapi.MessageTypeOutgoing
	message, err := h.create(ctx, isOutgoing, openapi.OutgoingMessageCreate{
		Conversation:   request.Body.Conversation,
		Content:        request.Body.Content,
		ContentPayload: request.Body.ContentPayload,
		QueryMetadata:  request.Body.QueryMetadata,
		Attachments:    request.Body.Attachments,
		Canvas:         request.Body.Canvas,
	}, request.Params.IdempotencyKey)
	return openapi.CreateMessage201JSONResponse(message), err
}

// CreateOutgoingMessage implements POST /api/messages/outgoing/.
func (h messageHandlers) CreateOutgoingMessage(ctx context.Context, request openapi.CreateOutgoingMessageRequestObject) (openapi.CreateOutgoingMessageResponseObject, error) {
	message, err := h.create(ctx, true, *request.Body, request.Params.IdempotencyKey)
	return openapi.CreateOutgoingMessage201JSONResponse(message), err
}

// create stores a message and returns it.
func (h messageHandlers) create(ctx context.Context, isOutgoing bool, body openapi.OutgoingMessageCreate, key *string) (openapi.Message, error) {
	canvas, err := fromAPICanvas(body.Canvas)
	if err != nil {
		return openapi.Message{}, err
	}
	principal := auth.PrincipalOf(ctx)
	sent, err := h.chat.Post(ctx, principal, body.Conversation, isOutgoing, chat.NewMessage{
		Content:        deref(body.Content),
		Attachments:    fromAPIAttachments(body.Attachments),
		ContentPayload: deref(body.ContentPayload),
		QueryMetadata:  deref(body.QueryMetadata),
		Canvas:         canvas,
		IdempotencyKey: contract.IdempotencyKey(ctx, key),
	})
	if err != nil {
		return openapi.Message{}, err
	}
	stored, err := h.chat.Message(ctx, principal, sent.MessageID.String(), nil)
	if err != nil {
		return openapi.Message{}, err
	}
	return toAPIMessage(stored)
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
