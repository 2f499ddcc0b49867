package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/records"
	"parley/internal/trace"
)

// ExportRecords implements GET /api/chatbots/{chatbotPk}/records/export-excel/.
func (a *API) ExportRecords(ctx context.Context, request openapi.ExportRecordsRequestObject) (openapi.ExportRecordsResponseObject, error) {
	params := request.Params
	filter, err := fromAPIFilter(params.StartDate, params.EndDate, params.Timezone, params.UserMessage, params.BotMessage,
		params.Conversation, params.Status, params.Feedback, params.Type)
	if err != nil {
		return nil, err
	}
	return a.export(ctx, request.ChatbotPk, filter, "xlsx", records.Locale(deref(params.Locale)))
}

// ExportRecordsAsText implements GET /api/chatbots/{chatbotPk}/records/export/.
func (a *API) ExportRecordsAsText(ctx context.Context, request openapi.ExportRecordsAsTextRequestObject) (openapi.ExportRecordsAsTextResponseObject, error) {
	params := request.Params
	filter, err := fromAPIFilter(params.StartDate, params.EndDate, params.Timezone, params.UserMessage, params.BotMessage,
		params.Conversation, params.Status, params.Feedback, params.Type)
	if err != nil {
		return nil, err
	}
	return a.export(ctx, request.ChatbotPk, filter, string(deref(params.Format)), records.Locale(deref(params.Locale)))
}

// export answers with a file of a chatbot's records, named by its format.
func (a *API) export(ctx context.Context, chatbot string, filter records.Filter, format string, locale records.Locale) (recordsFile, error) {
	found, err := a.Bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, chatbot)
	if err != nil {
		return recordsFile{}, err
	}
	export, err := a.Records.Export(ctx, found.OrganizationID, found.ID, filter)
	if err != nil {
		return recordsFile{}, err
	}
	name := "_" + filter.Days.StartDate() + "_" + filter.Days.EndDate() + "." + format
	file := recordsFile{ctx: ctx, disposition: attachment(found.Slug+name, found.Name+name), format: format, log: a.Log, traces: a.Traces}
	switch format {
	case "csv":
		file.mediaType = "text/csv; charset=utf-8"
		file.write = func(ctx context.Context, w io.Writer) error { return export.WriteCSV(ctx, w, locale) }
	case "jsonl":
		file.mediaType = "application/x-ndjson"
		file.write = func(ctx context.Context, w io.Writer) error { return export.WriteLines(ctx, w, nil, appendRecord) }
	default:
		file.mediaType = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
		file.write = func(ctx context.Context, w io.Writer) error { return export.WriteExcel(ctx, w, locale) }
	}
	return file, nil
}

// recordsFile answers with an export as it is written.
type recordsFile struct {
	ctx         context.Context //nolint:containedctx // the answer is written by generated code, which passes none
	mediaType   string
	disposition string
	format      string
	write       func(context.Context, io.Writer) error
	log         *slog.Logger
	traces      *trace.Tracer
}

// VisitExportRecordsResponse writes the file.
func (f recordsFile) VisitExportRecordsResponse(w http.ResponseWriter) error { return f.writeTo(w) }

// VisitExportRecordsAsTextResponse writes the file.
func (f recordsFile) VisitExportRecordsAsTextResponse(w http.ResponseWriter) error {
	return f.writeTo(w)
}

// writeTo writes the file, its headers at once. A failure in its middle can no longer
// be told: the connection is broken off, so that nobody takes what has come for the
// whole.
func (f recordsFile) writeTo(w http.ResponseWriter) error {
	ctx, span := f.traces.Start(f.ctx, "export")
	defer span.End()
	span.SetText("parley.export.format", f.format)
	header := w.Header()
	header.Set("Content-Type", f.mediaType)
	header.Set("Content-Disposition", f.disposition)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	file := fileWriter{w: w, controller: http.NewResponseController(w)}
	_, err := file.Write(nil)
	if err == nil {
		err = f.write(ctx, file)
	}
	if err == nil {
		return nil
	}
	span.Fail("broken off")
	level := slog.LevelError
	if _, isWrite := errors.AsType[*writeError](err); isWrite || f.ctx.Err() != nil {
		level = slog.LevelInfo // the caller has left
	}
	f.log.Log(f.ctx, level, "export broken off", "request_id", header.Get("X-Request-Id"), "error", err)
	reset(file.controller)
	return http.ErrAbortHandler
}

// reset breaks a connection off so that no reader takes its end for that of what was
// sent, as HTTP/1.0 would, which some proxies speak to servers.
func reset(controller *http.ResponseController) {
	conn, _, err := controller.Hijack()
	if err != nil {
		return // HTTP/2 ends streams with a reset itself
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // where it fails the other end has left
	}
	_ = conn.Close()
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
