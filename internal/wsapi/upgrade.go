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

// The buffers of a socket. Those of the HTTP server are larger than what is usually
// written and read here, and would stay as long as the socket.
const (
	readBuffer  = 1 << 10
	writeBuffer = 2 << 10
)

// upgrade makes a WebSocket of a request; what is wrong with the request is returned
// as a fault.
func upgrade(w http.ResponseWriter, r *http.Request, crew *crew) (*websocket.Conn, *line, error) {
	shake := &handshake{ResponseWriter: w, crew: crew}
	conn, err := websocket.Accept(shake, r, acceptOptions(r))
	if err != nil {
		return nil, nil, invalidHandshake(err)
	}
	conn.SetReadLimit(maxFrame)
	return conn, shake.line, nil
}

func acceptOptions(r *http.Request) *websocket.AcceptOptions {
	options := &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the origin is checked before
		CompressionMode:    websocket.CompressionDisabled,
	}
	if strings.HasPrefix(r.Header.Get("Sec-WebSocket-Protocol"), "bearer") {
		options.Subprotocols = []string{"bearer"}
	}
	return options
}

func invalidHandshake(err error) error {
	return apperr.Wrap(apperr.InvalidRequest, "The WebSocket handshake is not valid.", err)
}

// checkHandshake refuses what upgrade would refuse, before a conversation is opened for
// it. The library itself is asked: it looks at all of a request before it takes the
// connection over, which a rehearsal does not have.
func checkHandshake(r *http.Request) error {
	_, err := websocket.Accept(rehearsal{}, r, acceptOptions(r))
	if errors.Is(err, errRehearsed) {
		return nil
	}
	return invalidHandshake(err)
}

var errRehearsed = errors.New("the handshake is good, and only rehearsed")

// rehearsal is an answer that nobody gets.
type rehearsal struct{}

// Header is of nothing.
func (rehearsal) Header() http.Header { return http.Header{} }

// Write writes nothing.
func (rehearsal) Write(body []byte) (int, error) { return len(body), nil }

// WriteHeader writes nothing.
func (rehearsal) WriteHeader(int) {}

// Hijack is where a handshake is known to be good.
func (rehearsal) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errRehearsed }

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
