package httpapi

import (
	"context"
	"log/slog"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/httpapi/paging"
	"parley/internal/records"
	"parley/internal/trace"
)

// recordHandlers implements the operations of records, their exports included.
type recordHandlers struct {
	bots    *bot.Bots
	records *records.Records
	log     *slog.Logger
	traces  *trace.Tracer
}

// ListRecords implements GET /api/chatbots/{chatbotPk}/records/.
func (h recordHandlers) ListRecords(ctx context.Context, request openapi.ListRecordsRequestObject) (openapi.ListRecordsResponseObject, error) {
	params := request.Params
	found, err := h.bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotPk)
	if err != nil {
		return nil, err
	}
	filter, err := fromAPIFilter(recordFilter{
		params.StartDate, params.EndDate, params.Timezone, params.UserMessage, params.BotMessage, params.Conversation,
		params.Status, params.Feedback, params.Type,
	})
	if err != nil {
		return nil, err
	}
	at := paging.Of(params.Page, params.PageSize, params.Offset)
	rows, count, err := paging.Read(at, func(p paging.Page) ([]db.Record, int64, error) {
		return h.records.List(ctx, found.OrganizationID, found.ID, filter, p.Number, p.Size)
	})
	if err != nil {
		return nil, err
	}
	list, err := paging.NewList(ctx, at, rows, count, toAPIRecord)
	return openapi.ListRecords200JSONResponse(list), err
}

// GetRecord implements GET /api/chatbots/{chatbotPk}/records/{id}/.
func (h recordHandlers) GetRecord(ctx context.Context, request openapi.GetRecordRequestObject) (openapi.GetRecordResponseObject, error) {
	found, err := h.bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotPk)
	if err != nil {
		return nil, err
	}
	record, err := h.records.Get(ctx, found.OrganizationID, found.ID, request.ID)
	return openapi.GetRecord200JSONResponse(toAPIRecord(record)), err
}

// UpdateRecord implements PATCH /api/chatbots/{chatbotPk}/records/{id}/.
func (h recordHandlers) UpdateRecord(ctx context.Context, request openapi.UpdateRecordRequestObject) (openapi.UpdateRecordResponseObject, error) {
	found, err := h.bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotPk)
	if err != nil {
		return nil, err
	}
	record, err := h.records.Score(ctx, found.OrganizationID, found.ID, request.ID, fromAPIScores(*request.Body))
	return openapi.UpdateRecord200JSONResponse(toAPIRecord(record)), err
}

// GetStatistics implements GET /api/chatbots/{chatbotPk}/statistics/.
func (h recordHandlers) GetStatistics(ctx context.Context, request openapi.GetStatisticsRequestObject) (openapi.GetStatisticsResponseObject, error) {
	params := request.Params
	found, err := h.bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotPk)
	if err != nil {
		return nil, err
	}
	days, err := records.ParseDays(params.StartDate, params.EndDate, deref(params.Timezone))
	if err != nil {
		return nil, err
	}
	statistics, err := h.records.Statistics(ctx, found.OrganizationID, found.ID, days)
	if err != nil {
		return nil, err
	}
	return openapi.GetStatistics200JSONResponse(toAPIStatistics(days, statistics)), nil
}

// ListStatelessUsage implements GET /api/stateless-usage/.
func (h recordHandlers) ListStatelessUsage(ctx context.Context, request openapi.ListStatelessUsageRequestObject) (openapi.ListStatelessUsageResponseObject, error) {
	params := request.Params
	days, err := records.ParseDays(params.StartDate, params.EndDate, "UTC")
	if err != nil {
		return nil, err
	}
	at := paging.Of(params.Page, params.PageSize, params.Offset)
	rows, count, err := paging.Read(at, func(p paging.Page) ([]db.ListStatelessUsageRow, int64, error) {
		return h.records.StatelessUsage(ctx, auth.PrincipalOf(ctx).OrganizationID, days, p.Size, p.Offset())
	})
	if err != nil {
		return nil, err
	}
	list, err := paging.NewList(ctx, at, rows, count, toAPIStatelessUsage)
	return openapi.ListStatelessUsage200JSONResponse(list), err
}
