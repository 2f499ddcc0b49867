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
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/eventstream"
	"parley/internal/records"
	"parley/internal/trace"
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
	return h.export(ctx, request.ChatbotPk, filter, "xlsx", records.Locale(deref(params.Locale)))
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
	return h.export(ctx, request.ChatbotPk, filter, string(deref(params.Format)), records.Locale(deref(params.Locale)))
}

// export returns a file with the records of a chatbot. The format is also the extension.
func (h recordHandlers) export(ctx context.Context, chatbot string, filter records.Filter, format string, locale records.Locale) (recordsFile, error) {
	found, err := h.bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, chatbot)
	if err != nil {
		return recordsFile{}, err
	}
	var export *records.Export
	if contract.IsHead(ctx) {
		err = h.records.CheckFilter(ctx, found.OrganizationID, found.ID, filter)
	} else {
		export, err = h.records.Export(ctx, found.OrganizationID, found.ID, filter)
	}
	if err != nil {
		return recordsFile{}, err
	}
	suffix := "_" + filter.Days.StartDate() + "_" + filter.Days.EndDate() + "." + format
	file := recordsFile{ctx: ctx, disposition: contentDisposition(found.Slug+suffix, found.Name+suffix), format: format, log: h.log, traces: h.traces}
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

// recordsFile is a response that writes an export while it is read.
type recordsFile struct {
	ctx         context.Context //nolint:containedctx // generated code writes the response without a context
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

// writeTo sends the headers at once and then the file. A failure in mid-file can no longer have a
// status, so it aborts the connection: a truncated file must not pass for a complete one.
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
	if contract.IsHead(f.ctx) {
		return nil
	}
	file := fileWriter{w: w, controller: http.NewResponseController(w)}
	_, err := file.Write(nil)
	if err == nil {
		err = f.write(ctx, file)
	}
	if err == nil {
		return nil
	}
	span.Fail("aborted")
	level := slog.LevelError
	if _, isWrite := errors.AsType[*writeError](err); isWrite || f.ctx.Err() != nil {
		level = slog.LevelInfo // the client has disconnected
	}
	f.log.Log(f.ctx, level, "abort export", "request_id", header.Get("X-Request-Id"), "err", err)
	resetConnection(file.controller)
	return http.ErrAbortHandler
}

// resetConnection closes a connection with a TCP reset. Under HTTP/1.0, which some proxies use, an
// orderly close would mark the end of the file.
func resetConnection(controller *http.ResponseController) {
	conn, _, err := controller.Hijack()
	if err != nil {
		return // HTTP/2 resets the stream itself
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only if the client has disconnected
	}
	_ = conn.Close()
}

// fileWriter flushes every write. It fails if a write takes longer than eventstream.WriteTimeout.
type fileWriter struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

// writeError is the error of a write to the client.
type writeError struct{ err error }

// Error returns the text of the underlying error.
func (e *writeError) Error() string { return e.err.Error() }

// Unwrap returns the underlying error.
func (e *writeError) Unwrap() error { return e.err }

// Write implements io.Writer.
func (f fileWriter) Write(data []byte) (int, error) {
	if err := f.controller.SetWriteDeadline(time.Now().Add(eventstream.WriteTimeout)); err != nil {
		return 0, fmt.Errorf("set the write deadline of a file: %w", err)
	}
	n, err := f.w.Write(data)
	if err == nil {
		err = f.controller.Flush()
	}
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// contentDisposition returns the Content-Disposition of a file: with an ASCII name for old clients,
// and with the full name (RFC 6266).
func contentDisposition(ascii, name string) string {
	return fmt.Sprintf(`attachment; filename="%s"; filename*=UTF-8''%s`, strings.Map(toUnreserved, ascii), percentEncode(strings.Map(toFilename, name)))
}

// toUnreserved replaces every character that needs quoting somewhere.
func toUnreserved(r rune) rune {
	if isUnreserved(r) {
		return r
	}
	return '-'
}

// toFilename replaces characters that some file system forbids, and those that disguise a name.
func toFilename(r rune) rune {
	if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || strings.ContainsRune(`/\:*?"<>|`, r) {
		return '-'
	}
	return r
}

// percentEncode encodes every byte that is not unreserved (RFC 8187).
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
