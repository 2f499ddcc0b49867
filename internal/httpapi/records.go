package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"

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
	filter, err := fromAPIFilter(params.StartDate, params.EndDate, params.Timezone, params.UserMessage, params.BotMessage)
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

// ExportRecords implements GET /api/chatbots/{chatbotPk}/records/export-excel/.
func (a *API) ExportRecords(ctx context.Context, request openapi.ExportRecordsRequestObject) (openapi.ExportRecordsResponseObject, error) {
	params := request.Params
	found, err := a.Bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotPk)
	if err != nil {
		return nil, err
	}
	filter, err := fromAPIFilter(params.StartDate, params.EndDate, params.Timezone, params.UserMessage, params.BotMessage)
	if err != nil {
		return nil, err
	}
	export, err := a.Records.Export(ctx, found.OrganizationID, found.ID, filter, records.Locale(deref(params.Locale)))
	if err != nil {
		return nil, err
	}
	dates := "_" + filter.Days.StartDate() + "_" + filter.Days.EndDate() + ".xlsx"
	return recordsFile{ctx: ctx, export: export, disposition: attachment(found.Slug+dates, found.Name+dates), log: a.Log}, nil
}

// recordsFile answers with an export as it is written.
type recordsFile struct {
	ctx         context.Context //nolint:containedctx // the answer is written by generated code, which passes none
	export      *records.Export
	disposition string
	log         *slog.Logger
}

// VisitExportRecordsResponse writes the file. A failure in its middle can no longer
// be told: the connection is broken off, and what has come of the file does not open.
func (f recordsFile) VisitExportRecordsResponse(w http.ResponseWriter) error {
	header := w.Header()
	header.Set("Content-Type", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
	header.Set("Content-Disposition", f.disposition)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	err := f.export.Write(f.ctx, fileWriter{w: w, controller: http.NewResponseController(w)})
	if err == nil {
		return nil
	}
	level := slog.LevelError
	if _, isWrite := errors.AsType[*writeError](err); isWrite || f.ctx.Err() != nil {
		level = slog.LevelInfo // the caller has left
	}
	f.log.Log(f.ctx, level, "export broken off", "request_id", header.Get("X-Request-Id"), "error", err)
	return http.ErrAbortHandler
}

// fileWriter sends each piece of a file on its way at once. A reader that takes too
// long over one is given up.
type fileWriter struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

// writeError is that the caller could not be written to.
type writeError struct{ err error }

// Error tells what happened to the write.
func (e *writeError) Error() string { return e.err.Error() }

// Unwrap returns what happened to the write.
func (e *writeError) Unwrap() error { return e.err }

// Write writes a piece.
func (f fileWriter) Write(piece []byte) (int, error) {
	if err := f.controller.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, fmt.Errorf("set the file's deadline: %w", err)
	}
	n, err := f.w.Write(piece)
	if err == nil {
		err = f.controller.Flush()
	}
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// attachment is the header that names a file: in ASCII for programs that know no
// better, and as it should be (RFC 6266).
func attachment(plain, name string) string {
	return fmt.Sprintf(`attachment; filename="%s"; filename*=UTF-8''%s`, strings.Map(asciiOnly, plain), percentEncode(strings.Map(nameable, name)))
}

// asciiOnly leaves what no reader of the header can misunderstand.
func asciiOnly(r rune) rune {
	if isUnreserved(r) {
		return r
	}
	return '-'
}

// nameable replaces what a file's name cannot have somewhere, and what makes it look
// like another one.
func nameable(r rune) rune {
	if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || strings.ContainsRune(`/\:*?"<>|`, r) {
		return '-'
	}
	return r
}

// percentEncode encodes all that is not unreserved (RFC 8187).
func percentEncode(name string) string {
	var encoded strings.Builder
	for _, b := range []byte(name) {
		if isUnreserved(rune(b)) {
			encoded.WriteByte(b)
		} else {
			fmt.Fprintf(&encoded, "%%%02X", b)
		}
	}
	return encoded.String()
}

func isUnreserved(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
}
