package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// socket is an open WebSocket. A goroutine reads its frames into a channel until the socket or the
// check ends.
type socket struct {
	t      *checker
	conn   *websocket.Conn
	frames chan object // closed at the end
	err    error       // the cause of the end; valid after frames is closed
	pings  atomic.Int64

	sent  map[string]any // the messages sent, by client_message_id
	waits int            // for the rate limit
}

const (
	// frameTimeout is the maximum wait for an expected frame.
	frameTimeout = 15 * time.Second
	// maxQueuedFrames bounds the frames that the check has not read yet.
	maxQueuedFrames = 1000
	// maxFrameBytes bounds a frame of the server.
	maxFrameBytes = 16 << 20
)

// dial opens a socket, or returns the response that refused it.
func (c client) dial(query string, options ...option) (*socket, response) {
	c.t.require(strings.HasPrefix(c.t.config.BaseURL, "http"), "%s is not an HTTP address", c.t.config.BaseURL)
	path := "/ws" + query
	for waits := 0; ; waits++ {
		s := &socket{t: c.t, frames: make(chan object, maxQueuedFrames), sent: map[string]any{}}
		sent := c.newRequest(c.t.ctx, http.MethodGet, path, nil, options)
		dialOptions := &websocket.DialOptions{
			HTTPClient:      c.t.http,
			HTTPHeader:      sent.Header,
			CompressionMode: websocket.CompressionDisabled,
			OnPingReceived:  func(context.Context, []byte) bool { s.pings.Add(1); return true },
		}
		if offered := sent.Header.Get("Sec-WebSocket-Protocol"); offered != "" {
			dialOptions.Subprotocols = strings.Split(offered, ", ")
			sent.Header.Del("Sec-WebSocket-Protocol")
		}
		ctx, cancel := context.WithTimeout(c.t.ctx, callTimeout)
		conn, received, err := websocket.Dial(ctx, c.t.config.BaseURL+path, dialOptions) //nolint:bodyclose // Dial closes it
		cancel()
		if received == nil {
			c.t.fatalf("GET %s: no response: %v", path, withoutURL(err))
		}
		got := c.newResponse(http.MethodGet, path, received)
		if err == nil {
			conn.SetReadLimit(maxFrameBytes)
			s.conn = conn
			c.t.cleanup(s.close)
			go s.read()
			return s, got
		}
		if received.Body != nil {
			got.body, _ = io.ReadAll(received.Body) // Dial keeps the beginning
		}
		if got.status == http.StatusTooManyRequests && waits < maxLimitWaits { // too many open sockets
			c.t.sleep(time.Second)
			continue
		}
		if got.status == http.StatusSwitchingProtocols {
			c.t.fatalf("%s: invalid upgrade response: %v", got.request, err)
		}
		return nil, got
	}
}

// connect opens a socket, which is closed at the end of the check, and returns its first frame.
func (c client) connect(query string, options ...option) (*socket, object) {
	s, got := c.dial(query, options...)
	if s == nil {
		c.t.fatalf("%s: no WebSocket opens: status %d: %s", got.request, got.status, got.excerpt())
	}
	connected := s.next("connected")
	c.t.require(connected.str("type") == "status" && connected.str("status") == "connected", "the first frame is %v, want status connected", connected)
	return s, connected
}

// read reads frames until the socket or the check ends.
func (s *socket) read() {
	defer close(s.frames)
	for {
		kind, data, err := s.conn.Read(s.t.ctx)
		if err != nil {
			s.err = err
			return
		}
		var frame object
		if err := json.Unmarshal(data, &frame); err != nil || kind != websocket.MessageText {
			s.err = fmt.Errorf("a frame is not JSON text: %.200s", data)
			return
		}
		s.t.validator.checkPart("a frame of the type "+frame.str("type"), "ServerFrame", frame)
		select {
		case s.frames <- frame:
		case <-s.t.ctx.Done():
			s.err = s.t.ctx.Err()
			return
		}
	}
}

// next returns the next frame, which must arrive in time. A message that exceeds the rate limit is
// sent again as soon as the limit allows.
func (s *socket) next(expected string) object {
	for {
		frame := s.receive(expected)
		refused := s.sent[frame.str("client_message_id")]
		if frame.str("error") != "rate_limited" || refused == nil || s.waits == maxLimitWaits {
			return frame
		}
		s.waits++
		s.t.sleep(min(time.Duration(max(1, frame.num("retry_after")))*time.Second, maxLimitWait))
		s.sendFrame(refused)
	}
}

func (s *socket) receive(expected string) object {
	timer := time.NewTimer(frameTimeout)
	defer timer.Stop()
	select {
	case frame, ok := <-s.frames:
		if !ok {
			s.t.fatalf("the socket ends instead of sending %s: %v", expected, s.err)
		}
		return frame
	case <-timer.C:
		s.t.fatalf("the socket does not send %s within %s", expected, frameTimeout)
	case <-s.t.ctx.Done():
		s.t.fatalf("")
	}
	return nil
}

// until returns the first frame that matches and skips those before it.
func (s *socket) until(expected string, matches func(object) bool) object {
	for {
		if frame := s.next(expected); matches(frame) {
			return frame
		}
	}
}

// nextMessage returns the next message.
func (s *socket) nextMessage() object {
	return s.until("a message", func(frame object) bool { return frame.str("type") == "message" })
}

// acknowledgement returns the next frame that acknowledges or rejects a message.
func (s *socket) acknowledgement() object {
	return s.until("delivered", func(frame object) bool {
		return frame.str("status") == "delivered" || frame.str("type") == "error"
	})
}

// expectDelivered returns the acknowledgement of the message with a client_message_id.
func (s *socket) expectDelivered(clientID string) object {
	frame := s.acknowledgement()
	s.t.require(frame.str("status") == "delivered" && frame.str("client_message_id") == clientID, "got %v for the message %s, want delivered", frame, clientID)
	return frame
}

// expectMessages fails the check unless the next messages, or their acknowledgements, are these, in
// order of seq from the first one.
func (s *socket) expectMessages(first int, want ...string) {
	for i, content := range want {
		frame := s.until(fmt.Sprintf("message %d", first+i), func(frame object) bool {
			return frame.str("type") == "message" || frame.str("status") == "delivered"
		})
		s.t.require(frame.num("seq") == first+i, "got %v, want seq %d", frame, first+i)
		s.t.require(frame.str("type") != "message" || frame.str("content") == content, "message %d is %q, want %q", first+i, frame.str("content"), content)
	}
}

// sendFrame sends a string unchanged, and anything else as JSON.
func (s *socket) sendFrame(frame any) {
	text, isText := frame.(string)
	data := []byte(text)
	if !isText {
		data, _ = json.Marshal(frame) // the check's own values can be encoded
	}
	ctx, cancel := context.WithTimeout(s.t.ctx, frameTimeout)
	defer cancel()
	if err := s.conn.Write(ctx, websocket.MessageText, data); err != nil {
		s.t.fatalf("send a frame: %v", err)
	}
}

// send sends a message.
func (s *socket) send(content, clientID string) {
	s.sendMessage(object{"content": content}, clientID)
}

// sendMessage sends a message with further fields.
func (s *socket) sendMessage(message object, clientID string) {
	message["type"], message["client_message_id"] = "message", clientID
	s.sent[clientID] = message
	s.sendFrame(message)
}

// close closes the socket. Closing twice is safe.
func (s *socket) close() { _ = s.conn.Close(websocket.StatusNormalClosure, "") }
