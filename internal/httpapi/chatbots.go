package httpapi

import (
	"context"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/paging"
)

// chatbotHandlers implements the operations of chatbots.
type chatbotHandlers struct{ bots *bot.Bots }

// ListChatbots implements GET /api/chatbots/.
func (h chatbotHandlers) ListChatbots(ctx context.Context, request openapi.ListChatbotsRequestObject) (openapi.ListChatbotsResponseObject, error) {
	at := paging.Of(request.Params.Page, request.Params.PageSize, request.Params.Offset)
	rows, count, err := paging.Read(at, func(p paging.Page) ([]db.Bot, int64, error) {
		return h.bots.List(ctx, auth.PrincipalOf(ctx).OrganizationID, p.Number, p.Size)
	})
	if err != nil {
		return nil, err
	}
	list, err := paging.NewList(ctx, at, rows, count, toAPIChatbot)
	return openapi.ListChatbots200JSONResponse(list), err
}

// CreateChatbot implements POST /api/chatbots/.
func (h chatbotHandlers) CreateChatbot(ctx context.Context, request openapi.CreateChatbotRequestObject) (openapi.CreateChatbotResponseObject, error) {
	id, err := givenID(ctx, request.Body.ID)
	if err != nil {
		return nil, err
	}
	model, err := fromAPIModel(request.Body.Model)
	if err != nil {
		return nil, err
	}
	created, err := h.bots.Create(ctx, auth.PrincipalOf(ctx).OrganizationID, bot.NewBot{
		ID:                id,
		Name:              request.Body.Name,
		Slug:              deref(request.Body.Slug),
		Description:       deref(request.Body.Description),
		Engine:            string(deref(request.Body.Engine)),
		Script:            fromAPIScript(request.Body.Script),
		Model:             model,
		Instructions:      deref(request.Body.Instructions),
		Greeting:          deref(request.Body.Greeting),
		UnanswerableReply: deref(request.Body.UnanswerableReply),
		IsDefault:         deref(request.Body.IsDefault),
		IdempotencyKey:    contract.IdempotencyKey(ctx, request.Params.IdempotencyKey),
	})
	return openapi.CreateChatbot201JSONResponse(toAPIChatbot(created)), err
}

// GetChatbot implements GET /api/chatbots/{chatbotId}/.
func (h chatbotHandlers) GetChatbot(ctx context.Context, request openapi.GetChatbotRequestObject) (openapi.GetChatbotResponseObject, error) {
	found, err := h.bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID)
	return openapi.GetChatbot200JSONResponse(toAPIChatbot(found)), err
}

// UpdateChatbot implements PATCH /api/chatbots/{chatbotId}/.
func (h chatbotHandlers) UpdateChatbot(ctx context.Context, request openapi.UpdateChatbotRequestObject) (openapi.UpdateChatbotResponseObject, error) {
	model, err := fromAPIModel(request.Body.Model)
	if err != nil {
		return nil, err
	}
	updated, err := h.bots.Update(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, bot.Change{
		Name:              request.Body.Name,
		Slug:              request.Body.Slug,
		Description:       request.Body.Description,
		Engine:            (*string)(request.Body.Engine),
		Script:            fromAPIScript(request.Body.Script),
		RemovesScript:     request.Body.Script.IsNull(),
		Model:             model,
		RemovesModel:      request.Body.Model.IsNull(),
		Instructions:      request.Body.Instructions,
		Greeting:          request.Body.Greeting,
		UnanswerableReply: request.Body.UnanswerableReply,
		IsDefault:         request.Body.IsDefault,
	})
	return openapi.UpdateChatbot200JSONResponse(toAPIChatbot(updated)), err
}

// DeleteChatbot implements DELETE /api/chatbots/{chatbotId}/.
func (h chatbotHandlers) DeleteChatbot(ctx context.Context, request openapi.DeleteChatbotRequestObject) (openapi.DeleteChatbotResponseObject, error) {
	err := h.bots.Delete(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID)
	return openapi.DeleteChatbot204Response{}, err
}
