package wsapi

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"parley/internal/apperr"
)

// The buffer sizes of a socket. The buffers of net/http are larger than most frames and would be held
// while the socket is open.
const (
	readBuffer  = 1 << 10
	writeBuffer = 2 << 10
)

// upgrade turns a request into a WebSocket. If it returns an error, nothing was written to w.
func upgrade(w http.ResponseWriter, r *http.Request, pool *workerPool) (*websocket.Conn, *timeoutConn, error) {
	upgrader := &upgradeWriter{ResponseWriter: w, pool: pool}
	conn, err := websocket.Accept(upgrader, r, acceptOptions(r))
	if err != nil {
		return nil, nil, invalidHandshake(err)
	}
	conn.SetReadLimit(maxSkipped)
	return conn, upgrader.conn, nil
}

func acceptOptions(r *http.Request) *websocket.AcceptOptions {
	options := &websocket.AcceptOptions{
		InsecureSkipVerify: true, // checkOrigin has checked the origin
		CompressionMode:    websocket.CompressionDisabled,
	}
	if strings.HasPrefix(r.Header.Get("Sec-WebSocket-Protocol"), "bearer") {
		options.Subprotocols = []string{"bearer"}
	}
	return options
}

func invalidHandshake(err error) error {
	return &apperr.Error{
		Kind:       apperr.InvalidRequest,
		Message:    "The WebSocket handshake is not valid.",
		Violations: []apperr.Violation{{In: "header", Parameter: "Upgrade", Detail: "must come with the other headers of a WebSocket handshake (RFC 6455)"}},
		Err:        err,
	}
}

// checkHandshake returns the error that upgrade would return, without upgrading. It runs before a
// conversation is opened for the socket.
//
// It is a dry run: the library validates the whole request before it hijacks the connection, and
// dryRunWriter cannot be hijacked.
func checkHandshake(r *http.Request) error {
	_, err := websocket.Accept(dryRunWriter{}, r, acceptOptions(r))
	if errors.Is(err, errDryRun) {
		return nil
	}
	return invalidHandshake(err)
}

var errDryRun = errors.New("the handshake is valid, and this is a dry run")

// dryRunWriter discards a response.
type dryRunWriter struct{}

// Header returns an empty header.
func (dryRunWriter) Header() http.Header { return http.Header{} }

// Write discards the body.
func (dryRunWriter) Write(body []byte) (int, error) { return len(body), nil }

// WriteHeader discards the status.
func (dryRunWriter) WriteHeader(int) {}

// Hijack returns errDryRun. It is called only after a valid handshake.
func (dryRunWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errDryRun }

// upgradeWriter writes the response that upgrades a connection, and discards every other one: the
// caller of upgrade answers errors.
type upgradeWriter struct {
	http.ResponseWriter
	pool *workerPool
	conn *timeoutConn // nil before Hijack
}

// WriteHeader writes the status 101 and discards every other one.
func (w *upgradeWriter) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write discards the body.
func (w *upgradeWriter) Write(body []byte) (int, error) { return len(body), nil }

// Hijack takes over the connection and gives it smaller buffers.
func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.conn = newTimeoutConn(conn, w.pool)
	// Keep what the client has already sent. The library requires it to be buffered.
	early, _ := buffers.Peek(buffers.Reader.Buffered())
	reader := bufio.NewReaderSize(bytes.NewReader(early), max(readBuffer, len(early)))
	if _, err := reader.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	return w.conn, bufio.NewReadWriter(reader, bufio.NewWriterSize(w.conn, writeBuffer)), nil
}
