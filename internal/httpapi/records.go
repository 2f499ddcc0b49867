package httpapi

import (
	"context"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/records"
)

// ListRecords implements GET /api/chatbots/{chatbotPk}/records/.
func (a *API) ListRecords(ctx context.Context, request openapi.ListRecordsRequestObject) (openapi.ListRecordsResponseObject, error) {
	params := request.Params
	found, err := a.Bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotPk)
	if err != nil {
		return nil, err
	}
	filter, err := fromAPIFilter(params.StartDate, params.EndDate, params.Timezone, params.UserMessage, params.BotMessage,
		params.Conversation, params.Status, params.Feedback, params.Type)
	if err != nil {
		return nil, err
	}
	page := pageOf(params.Page, params.PageSize)
	rows, count, err := a.Records.List(ctx, found.OrganizationID, found.ID, filter, page.number, page.size)
	if err != nil {
		return nil, err
	}
	next, previous := page.links(ctx, count)
	return openapi.ListRecords200JSONResponse{Count: count, Next: next, Previous: previous, Results: each(rows, toAPIRecord)}, nil
}

// GetRecord implements GET /api/chatbots/{chatbotPk}/records/{id}/.
func (a *API) GetRecord(ctx context.Context, request openapi.GetRecordRequestObject) (openapi.GetRecordResponseObject, error) {
	found, err := a.Bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotPk)
	if err != nil {
		return nil, err
	}
	record, err := a.Records.Get(ctx, found.OrganizationID, found.ID, request.ID)
	if err != nil {
		return nil, err
	}
	return openapi.GetRecord200JSONResponse(toAPIRecord(record)), nil
}

// UpdateRecord implements PATCH /api/chatbots/{chatbotPk}/records/{id}/.
func (a *API) UpdateRecord(ctx context.Context, request openapi.UpdateRecordRequestObject) (openapi.UpdateRecordResponseObject, error) {
	found, err := a.Bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotPk)
	if err != nil {
		return nil, err
	}
	record, err := a.Records.Score(ctx, found.OrganizationID, found.ID, request.ID, fromAPIScores(*request.Body))
	if err != nil {
		return nil, err
	}
	return openapi.UpdateRecord200JSONResponse(toAPIRecord(record)), nil
}

// GetStatistics implements GET /api/chatbots/{chatbotPk}/statistics/.
func (a *API) GetStatistics(ctx context.Context, request openapi.GetStatisticsRequestObject) (openapi.GetStatisticsResponseObject, error) {
	params := request.Params
	found, err := a.Bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotPk)
	if err != nil {
		return nil, err
	}
	days, err := records.ParseDays(params.StartDate, params.EndDate, deref(params.Timezone))
	if err != nil {
		return nil, err
	}
	statistics, err := a.Records.Statistics(ctx, found.OrganizationID, found.ID, days)
	if err != nil {
		return nil, err
	}
	return openapi.GetStatistics200JSONResponse(toAPIStatistics(days, statistics)), nil
}
