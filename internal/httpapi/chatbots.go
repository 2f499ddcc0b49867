package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/faq"
)

// ListChatbots implements GET /api/chatbots/.
func (a *API) ListChatbots(ctx context.Context, request openapi.ListChatbotsRequestObject) (openapi.ListChatbotsResponseObject, error) {
	page := pageOf(request.Params.Page, request.Params.PageSize)
	rows, count, err := a.Bots.List(ctx, auth.PrincipalOf(ctx).OrganizationID, page.number, page.size)
	if err != nil {
		return nil, err
	}
	next, previous := page.links(ctx, count)
	return openapi.ListChatbots200JSONResponse{Count: count, Next: next, Previous: previous, Results: each(rows, toAPIChatbot)}, nil
}

// CreateChatbot implements POST /api/chatbots/.
func (a *API) CreateChatbot(ctx context.Context, request openapi.CreateChatbotRequestObject) (openapi.CreateChatbotResponseObject, error) {
	model, err := fromAPIModel(request.Body.Model)
	if err != nil {
		return nil, err
	}
	made, err := a.Bots.Create(ctx, auth.PrincipalOf(ctx).OrganizationID, bot.NewBot{
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
		IdempotencyKey:    onceFor(ctx, request.Params.IdempotencyKey),
	})
	if err != nil {
		return nil, err
	}
	return openapi.CreateChatbot201JSONResponse(toAPIChatbot(made)), nil
}

// GetChatbot implements GET /api/chatbots/{chatbotId}/.
func (a *API) GetChatbot(ctx context.Context, request openapi.GetChatbotRequestObject) (openapi.GetChatbotResponseObject, error) {
	found, err := a.Bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID)
	if err != nil {
		return nil, err
	}
	return openapi.GetChatbot200JSONResponse(toAPIChatbot(found)), nil
}

// UpdateChatbot implements PATCH /api/chatbots/{chatbotId}/.
func (a *API) UpdateChatbot(ctx context.Context, request openapi.UpdateChatbotRequestObject) (openapi.UpdateChatbotResponseObject, error) {
	model, err := fromAPIModel(request.Body.Model)
	if err != nil {
		return nil, err
	}
	changed, err := a.Bots.Update(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, bot.Change{
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
	if err != nil {
		return nil, err
	}
	return openapi.UpdateChatbot200JSONResponse(toAPIChatbot(changed)), nil
}

// DeleteChatbot implements DELETE /api/chatbots/{chatbotId}/.
func (a *API) DeleteChatbot(ctx context.Context, request openapi.DeleteChatbotRequestObject) (openapi.DeleteChatbotResponseObject, error) {
	err := a.Bots.Delete(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID)
	return openapi.DeleteChatbot204Response{}, err
}

// ListFaqs implements GET /api/chatbots/{chatbotId}/faqs/.
func (a *API) ListFaqs(ctx context.Context, request openapi.ListFaqsRequestObject) (openapi.ListFaqsResponseObject, error) {
	page := pageOf(request.Params.Page, request.Params.PageSize)
	rows, count, err := a.FAQs.List(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, page.number, page.size)
	if err != nil {
		return nil, err
	}
	next, previous := page.links(ctx, count)
	return openapi.ListFaqs200JSONResponse{Count: count, Next: next, Previous: previous, Results: each(rows, toAPIFaq)}, nil
}

// CreateFaq implements POST /api/chatbots/{chatbotId}/faqs/.
func (a *API) CreateFaq(ctx context.Context, request openapi.CreateFaqRequestObject) (openapi.CreateFaqResponseObject, error) {
	made, err := a.FAQs.Create(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, faq.NewFAQ{
		Question:       request.Body.Question,
		Answer:         request.Body.Answer,
		Labels:         deref(request.Body.Labels),
		IdempotencyKey: onceFor(ctx, request.Params.IdempotencyKey),
	})
	if err != nil {
		return nil, err
	}
	return openapi.CreateFaq201JSONResponse(toAPIFaq(made)), nil
}

// GetFaq implements GET /api/chatbots/{chatbotId}/faqs/{faqId}/.
func (a *API) GetFaq(ctx context.Context, request openapi.GetFaqRequestObject) (openapi.GetFaqResponseObject, error) {
	found, err := a.FAQs.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, request.FaqID)
	if err != nil {
		return nil, err
	}
	return openapi.GetFaq200JSONResponse(toAPIFaq(found)), nil
}

// UpdateFaq implements PATCH /api/chatbots/{chatbotId}/faqs/{faqId}/.
func (a *API) UpdateFaq(ctx context.Context, request openapi.UpdateFaqRequestObject) (openapi.UpdateFaqResponseObject, error) {
	changed, err := a.FAQs.Update(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, request.FaqID, faq.Change{
		Question: request.Body.Question,
		Answer:   request.Body.Answer,
		Labels:   request.Body.Labels,
	})
	if err != nil {
		return nil, err
	}
	return openapi.UpdateFaq200JSONResponse(toAPIFaq(changed)), nil
}

// DeleteFaq implements DELETE /api/chatbots/{chatbotId}/faqs/{faqId}/.
func (a *API) DeleteFaq(ctx context.Context, request openapi.DeleteFaqRequestObject) (openapi.DeleteFaqResponseObject, error) {
	err := a.FAQs.Delete(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, request.FaqID)
	return openapi.DeleteFaq204Response{}, err
}

// maxUploads is how many files of an import, of up to 32 MiB each, are in memory at once.
const maxUploads = 8

// ImportFaqs implements POST /api/chatbots/{chatbotId}/faqs/import/.
func (a *API) ImportFaqs(ctx context.Context, request openapi.ImportFaqsRequestObject) (openapi.ImportFaqsResponseObject, error) {
	select {
	case a.uploads <- struct{}{}:
		defer func() { <-a.uploads }()
	default:
		return nil, &apperr.Error{Kind: apperr.Unavailable, Message: "Too many files are being uploaded.", RetryAfter: 10 * time.Second}
	}
	file, err := readUpload(request)
	if err != nil {
		return nil, err
	}
	key := onceForFile(ctx, request.Params.IdempotencyKey, file)
	imported, err := a.FAQs.Import(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, file, key)
	if err != nil {
		return nil, err
	}
	return openapi.ImportFaqs200JSONResponse{
		Created: imported.Created,
		Updated: imported.Updated,
		Skipped: imported.Skipped,
		Errors: each(imported.Errors, func(one faq.ImportError) openapi.FaqImportError {
			return openapi.FaqImportError{Row: one.Row, Detail: one.Detail}
		}),
	}, nil
}

// readUpload reads the field `file` of an upload; http.MaxBytesReader bounds it.
func readUpload(request openapi.ImportFaqsRequestObject) ([]byte, error) {
	for {
		part, err := request.Body.NextPart()
		if err == io.EOF { //nolint:errorlint // the reader returns it as it is
			return nil, apperr.Field(apperr.InvalidRequest, "/file", "is missing")
		}
		if err != nil {
			return nil, brokenUpload(err)
		}
		if part.FormName() != "file" {
			continue
		}
		file, err := io.ReadAll(part)
		if err != nil {
			return nil, brokenUpload(err)
		}
		return file, nil
	}
}

func brokenUpload(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return apperr.Wrap(apperr.InvalidRequest, "The upload is broken off or is no multipart form.", err)
}
