package httpapi

import (
	"context"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
)

// ListWebChats implements GET /api/web-chats/.
func (a *API) ListWebChats(ctx context.Context, request openapi.ListWebChatsRequestObject) (openapi.ListWebChatsResponseObject, error) {
	page := pageOf(request.Params.Page, request.Params.PageSize)
	rows, count, err := a.Chat.ListWebChats(ctx, auth.PrincipalOf(ctx).OrganizationID, page.size, page.offset())
	if err != nil {
		return nil, err
	}
	if err := page.check(count); err != nil {
		return nil, err
	}
	next, previous := page.links(ctx, count)
	return openapi.ListWebChats200JSONResponse{Count: count, Next: next, Previous: previous, Results: each(rows, toAPIWebChat)}, nil
}

// CreateWebChat implements POST /api/web-chats/.
func (a *API) CreateWebChat(ctx context.Context, request openapi.CreateWebChatRequestObject) (openapi.CreateWebChatResponseObject, error) {
	made, err := a.Chat.CreateWebChat(ctx, auth.PrincipalOf(ctx).OrganizationID, chat.WebChat{
		Name:           &request.Body.Name,
		BotRef:         request.Body.Chatbot,
		AccessType:     (*string)(request.Body.AccessType),
		AllowedOrigins: deref(request.Body.AllowedOrigins),
	}, onceFor(ctx, request.Params.IdempotencyKey))
	if err != nil {
		return nil, err
	}
	return openapi.CreateWebChat201JSONResponse(toAPIWebChat(made)), nil
}

// GetWebChat implements GET /api/web-chats/{webChatId}/.
func (a *API) GetWebChat(ctx context.Context, request openapi.GetWebChatRequestObject) (openapi.GetWebChatResponseObject, error) {
	found, err := a.Chat.GetWebChat(ctx, auth.PrincipalOf(ctx).OrganizationID, request.WebChatID)
	if err != nil {
		return nil, err
	}
	return openapi.GetWebChat200JSONResponse(toAPIWebChat(found)), nil
}

// UpdateWebChat implements PATCH /api/web-chats/{webChatId}/.
func (a *API) UpdateWebChat(ctx context.Context, request openapi.UpdateWebChatRequestObject) (openapi.UpdateWebChatResponseObject, error) {
	changed, err := a.Chat.UpdateWebChat(ctx, auth.PrincipalOf(ctx).OrganizationID, request.WebChatID, chat.WebChat{
		Name:           request.Body.Name,
		BotRef:         request.Body.Chatbot,
		AccessType:     (*string)(request.Body.AccessType),
		AllowedOrigins: deref(request.Body.AllowedOrigins),
	})
	if err != nil {
		return nil, err
	}
	return openapi.UpdateWebChat200JSONResponse(toAPIWebChat(changed)), nil
}

// DeleteWebChat implements DELETE /api/web-chats/{webChatId}/.
func (a *API) DeleteWebChat(ctx context.Context, request openapi.DeleteWebChatRequestObject) (openapi.DeleteWebChatResponseObject, error) {
	err := a.Chat.DeleteWebChat(ctx, auth.PrincipalOf(ctx).OrganizationID, request.WebChatID)
	return openapi.DeleteWebChat204Response{}, err
}
