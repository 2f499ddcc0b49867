package wsapi

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"parley/internal/fault"
)

// The buffers of a socket. Those of the HTTP server are larger than what is usually
// written and read here, and would stay as long as the socket.
const (
	readBuffer  = 1 << 10
	writeBuffer = 2 << 10
)

// upgrade makes a WebSocket of a request; what is wrong with the request is returned
// as a fault.
func upgrade(w http.ResponseWriter, r *http.Request, crew *crew) (*websocket.Conn, *line, error) {
	options := &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the origin is checked before
		CompressionMode:    websocket.CompressionDisabled,
	}
	if strings.HasPrefix(r.Header.Get("Sec-WebSocket-Protocol"), "bearer") {
		options.Subprotocols = []string{"bearer"}
	}
	shake := &handshake{ResponseWriter: w, crew: crew}
	conn, err := websocket.Accept(shake, r, options)
	if err != nil {
		return nil, nil, fault.Wrap(fault.InvalidRequest, "The WebSocket handshake is not valid.", err)
	}
	conn.SetReadLimit(maxFrame)
	return conn, shake.line, nil
}

// handshake lets only the upgrade through: what Accept would write of its refusals is
// told by whoever answers the error.
type handshake struct {
	http.ResponseWriter
	crew *crew
	line *line // once hijacked
}

// WriteHeader writes the upgrade.
func (h *handshake) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		h.ResponseWriter.WriteHeader(status)
	}
}

// Write writes nothing.
func (h *handshake) Write(body []byte) (int, error) { return len(body), nil }

// Hijack takes the connection over, with buffers of its own.
func (h *handshake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.line = newLine(conn, h.crew)
	// What the client has sent already is taken along, buffered as it was.
	early, _ := buffers.Peek(buffers.Reader.Buffered())
	reader := bufio.NewReaderSize(bytes.NewReader(early), max(readBuffer, len(early)))
	if _, err := reader.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	return h.line, bufio.NewReadWriter(reader, bufio.NewWriterSize(h.line, writeBuffer)), nil
}
