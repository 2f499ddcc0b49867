package wsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"

	"github.com/coder/websocket"
)

const (
	// The maximum size of a client's frame in bytes.
	maxFrame          = 512 << 10
	maxAnonymousFrame = 32 << 10
	// maxSkipped is the size up to which a frame that is too large is read and answered with an error.
	// A larger one closes the socket.
	maxSkipped = 4 << 20
	// keptTail is how much of the end of such a frame is kept: enough for a client_message_id.
	keptTail = 4 << 10
)

// maxFrame returns the maximum size of the client's frames.
func (s *socket) maxFrame() int {
	if s.caller.IsAnonymous() {
		return maxAnonymousFrame
	}
	return maxFrame
}

// rawFrame is a frame of a client. If it is too large, data has only its beginning and its end.
type rawFrame struct {
	kind       websocket.MessageType
	data       []byte
	isTooLarge bool
}

// readFrame reads the next frame. It holds no more of it in memory than its maximum size.
func (s *socket) readFrame(ctx context.Context) (rawFrame, error) {
	kind, reader, err := s.conn.Reader(ctx)
	if err != nil {
		return rawFrame{}, err
	}
	data, err := io.ReadAll(io.LimitReader(reader, int64(s.maxFrame())+1))
	if err != nil || len(data) <= s.maxFrame() {
		return rawFrame{kind: kind, data: data}, err
	}
	var end tail
	_, err = io.Copy(&end, reader)
	return rawFrame{kind: kind, data: append(data, end...), isTooLarge: true}, err
}

// tail keeps the end of what is written to it.
type tail []byte

// Write implements io.Writer.
func (t *tail) Write(data []byte) (int, error) {
	*t = append(*t, data[max(0, len(data)-keptTail):]...)
	if excess := len(*t) - keptTail; excess > 0 {
		*t = append((*t)[:0], (*t)[excess:]...)
	}
	return len(data), nil
}

// clientID returns the client_message_id of a frame that is too large, or an empty string if it is
// not found. Strings cannot contain the quoted name, because their quotation marks are escaped.
func (f rawFrame) clientID() string {
	_, value, isFound := bytes.Cut(f.data, []byte(`"client_message_id"`))
	value, hasValue := bytes.CutPrefix(bytes.TrimSpace(value), []byte(":"))
	var id string
	if !isFound || !hasValue || json.NewDecoder(bytes.NewReader(value)).Decode(&id) != nil || len([]rune(id)) > maxClientID {
		return ""
	}
	return id
}
