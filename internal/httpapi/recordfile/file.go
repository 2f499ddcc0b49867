// Package recordfile writes exports of records to responses, and records as lines of JSON.
package recordfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/eventstream"
	"parley/internal/trace"
)

// File is a response that writes an export while it is read.
type File struct {
	Context   context.Context //nolint:containedctx // generated code writes the response without a context
	MediaType string
	Format    string // also the extension
	// Name is the name of the file. ASCIIName is its name for clients that support only ASCII.
	Name, ASCIIName string
	Write           func(context.Context, io.Writer) error
	Log             *slog.Logger
	Traces          *trace.Tracer
}

// VisitExportRecordsResponse writes the file.
func (f File) VisitExportRecordsResponse(w http.ResponseWriter) error { return f.writeTo(w) }

// VisitExportRecordsAsTextResponse writes the file.
func (f File) VisitExportRecordsAsTextResponse(w http.ResponseWriter) error {
	return f.writeTo(w)
}

// writeTo sends the headers immediately and then the file. An error in the middle of the file cannot change the
// status, so it aborts the connection: a truncated file must not look complete.
func (f File) writeTo(w http.ResponseWriter) error {
	ctx, span := f.Traces.Start(f.Context, "export")
	defer span.End()
	span.SetText("parley.export.format", f.Format)
	header := w.Header()
	header.Set("Content-Type", f.MediaType)
	header.Set("Content-Disposition", contentDisposition(f.ASCIIName, f.Name))
	header.Set("Cache-Control", "no-store")
	header.Add("Vary", "Accept-Language")
	header.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if contract.IsHead(f.Context) {
		return nil
	}
	file := fileWriter{w: w, controller: http.NewResponseController(w)}
	_, err := file.Write(nil)
	if err == nil {
		err = f.Write(ctx, file)
	}
	if err == nil {
		return nil
	}
	span.Fail("aborted")
	level := slog.LevelError
	if _, isWrite := errors.AsType[*writeError](err); isWrite || f.Context.Err() != nil {
		level = slog.LevelInfo // the client has disconnected
	}
	f.Log.Log(f.Context, level, "abort export", "request_id", header.Get("X-Request-Id"), "err", err)
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
