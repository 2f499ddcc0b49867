package httpapi

import (
	"context"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/paging"
	"parley/internal/inbox"
)

// webChatHandlers implements the operations of web chats.
type webChatHandlers struct{ inboxes *inbox.Inboxes }

// ListWebChats implements GET /api/web-chats/.
func (h webChatHandlers) ListWebChats(ctx context.Context, request openapi.ListWebChatsRequestObject) (openapi.ListWebChatsResponseObject, error) {
	at := paging.Of(request.Params.Page, request.Params.PageSize, request.Params.Offset)
	rows, count, err := paging.Read(at, func(p paging.Page) ([]db.WebChat, int64, error) {
		return h.inboxes.ListWebChats(ctx, auth.PrincipalOf(ctx).OrganizationID, p.Size, p.Offset())
	})
	if err != nil {
		return nil, err
	}
	list, err := paging.NewList(ctx, at, rows, count, toAPIWebChat)
	return openapi.ListWebChats200JSONResponse(list), err
}

// CreateWebChat implements POST /api/web-chats/.
func (h webChatHandlers) CreateWebChat(ctx context.Context, request openapi.CreateWebChatRequestObject) (openapi.CreateWebChatResponseObject, error) {
	id, err := givenID(ctx, request.Body.ID)
	if err != nil {
		return nil, err
	}
	created, err := h.inboxes.CreateWebChat(ctx, auth.PrincipalOf(ctx).OrganizationID, inbox.WebChat{
		ID:             id,
		Name:           &request.Body.Name,
		BotRef:         request.Body.Chatbot,
		AccessType:     (*string)(request.Body.AccessType),
		AllowedOrigins: deref(request.Body.AllowedOrigins),
	}, contract.IdempotencyKey(ctx, request.Params.IdempotencyKey))
	return openapi.CreateWebChat201JSONResponse(toAPIWebChat(created)), err
}

// GetWebChat implements GET /api/web-chats/{webChatId}/.
func (h webChatHandlers) GetWebChat(ctx context.Context, request openapi.GetWebChatRequestObject) (openapi.GetWebChatResponseObject, error) {
	found, err := h.inboxes.GetWebChat(ctx, auth.PrincipalOf(ctx).OrganizationID, request.WebChatID)
	return openapi.GetWebChat200JSONResponse(toAPIWebChat(found)), err
}

// UpdateWebChat implements PATCH /api/web-chats/{webChatId}/.
func (h webChatHandlers) UpdateWebChat(ctx context.Context, request openapi.UpdateWebChatRequestObject) (openapi.UpdateWebChatResponseObject, error) {
	updated, err := h.inboxes.UpdateWebChat(ctx, auth.PrincipalOf(ctx).OrganizationID, request.WebChatID, inbox.WebChat{
		Name:           request.Body.Name,
		BotRef:         request.Body.Chatbot,
		AccessType:     (*string)(request.Body.AccessType),
		AllowedOrigins: deref(request.Body.AllowedOrigins),
	})
	return openapi.UpdateWebChat200JSONResponse(toAPIWebChat(updated)), err
}

// DeleteWebChat implements DELETE /api/web-chats/{webChatId}/.
func (h webChatHandlers) DeleteWebChat(ctx context.Context, request openapi.DeleteWebChatRequestObject) (openapi.DeleteWebChatResponseObject, error) {
	err := h.inboxes.DeleteWebChat(ctx, auth.PrincipalOf(ctx).OrganizationID, request.WebChatID)
	return openapi.DeleteWebChat204Response{}, err
}
