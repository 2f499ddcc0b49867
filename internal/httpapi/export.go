package httpapi

import (
	"context"
	"io"

	"golang.org/x/text/language"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/recordfile"
	"parley/internal/records"
)

// ExportRecords implements GET /api/chatbots/{chatbotPk}/records/export-excel/.
func (h recordHandlers) ExportRecords(ctx context.Context, request openapi.ExportRecordsRequestObject) (openapi.ExportRecordsResponseObject, error) {
	params := request.Params
	filter, err := fromAPIFilter(recordFilter{
		params.StartDate, params.EndDate, params.Timezone, params.UserMessage, params.BotMessage, params.Conversation,
		params.Status, params.Feedback, params.Type,
	})
	if err != nil {
		return nil, err
	}
	return h.export(ctx, request.ChatbotPk, filter, "xlsx", localeOf(ctx, params.Locale))
}

// ExportRecordsAsText implements GET /api/chatbots/{chatbotPk}/records/export/.
func (h recordHandlers) ExportRecordsAsText(ctx context.Context, request openapi.ExportRecordsAsTextRequestObject) (openapi.ExportRecordsAsTextResponseObject, error) {
	params := request.Params
	filter, err := fromAPIFilter(recordFilter{
		params.StartDate, params.EndDate, params.Timezone, params.UserMessage, params.BotMessage, params.Conversation,
		params.Status, params.Feedback, params.Type,
	})
	if err != nil {
		return nil, err
	}
	return h.export(ctx, request.ChatbotPk, filter, string(deref(params.Format)), localeOf(ctx, params.Locale))
}

// localeOf returns the language of an export: the requested one, or else the one that Accept-Language prefers.
func localeOf(ctx context.Context, asked *openapi.Locale) records.Locale {
	if asked != nil {
		return records.Locale(*asked)
	}
	accepted, _, err := language.ParseAcceptLanguage(contract.RequestOf(ctx).AcceptLanguage)
	if err != nil {
		return records.English
	}
	_, index, _ := locales.Match(accepted...)
	return []records.Locale{records.English, records.TraditionalChinese}[index]
}

// locales are the languages of exports, the default first.
var locales = language.NewMatcher([]language.Tag{language.English, language.TraditionalChinese})

// export returns a file with the records of a chatbot. The format is also the extension.
func (h recordHandlers) export(ctx context.Context, chatbot string, filter records.Filter, format string, locale records.Locale) (recordfile.File, error) {
	found, err := h.bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, chatbot)
	if err != nil {
		return recordfile.File{}, err
	}
	var export *records.Export
	if contract.IsHead(ctx) {
		err = h.records.CheckFilter(ctx, found.OrganizationID, found.ID, filter)
	} else {
		export, err = h.records.Export(ctx, found.OrganizationID, found.ID, filter)
	}
	if err != nil {
		return recordfile.File{}, err
	}
	suffix := "_" + filter.Days.StartDate() + "_" + filter.Days.EndDate() + "." + format
	file := recordfile.File{Context: ctx, Format: format, Name: found.Name + suffix, ASCIIName: found.Slug + suffix, Log: h.log, Traces: h.traces}
	switch format {
	case "csv":
		file.MediaType = "text/csv; charset=utf-8"
		file.Write = func(ctx context.Context, w io.Writer) error { return export.WriteCSV(ctx, w, locale) }
	case "jsonl":
		file.MediaType = "application/x-ndjson"
		file.Write = func(ctx context.Context, w io.Writer) error {
			return export.WriteLines(ctx, w, nil, recordfile.AppendLine)
		}
	default:
		file.MediaType = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
		file.Write = func(ctx context.Context, w io.Writer) error { return export.WriteExcel(ctx, w, locale) }
	}
	return file, nil
}
