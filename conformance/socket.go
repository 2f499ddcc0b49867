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

// socket is an open WebSocket, whose frames are read as they come.
type socket struct {
	t      *trial
	conn   *websocket.Conn
	frames chan object // closed at its end
	ended  error       // read it after that
	pings  atomic.Int64
}

const (
	// frameTime is how long a frame that must come may take.
	frameTime = 15 * time.Second
	// maxWaiting is how many frames may wait to be looked at.
	maxWaiting = 1000
	// maxFrame is the largest frame of a server's that is read.
	maxFrame = 16 << 20
)

// dial asks for a socket; without one there is an answer.
func (c caller) dial(query string, options ...option) (*socket, answer) {
	c.t.must(strings.HasPrefix(c.t.config.BaseURL, "http"), "%s is no address of a server", c.t.config.BaseURL)
	for waits := 0; ; waits++ {
		s := &socket{t: c.t, frames: make(chan object, maxWaiting)}
		asked := c.request(c.t.ctx, http.MethodGet, "/ws"+query, nil, options)
		dialing := &websocket.DialOptions{
			HTTPClient:      c.t.http,
			HTTPHeader:      asked.Header,
			CompressionMode: websocket.CompressionDisabled,
			OnPingReceived:  func(context.Context, []byte) bool { s.pings.Add(1); return true },
		}
		if offered := asked.Header.Get("Sec-WebSocket-Protocol"); offered != "" {
			dialing.Subprotocols = strings.Split(offered, ", ")
			asked.Header.Del("Sec-WebSocket-Protocol")
		}
		ctx, cancel := context.WithTimeout(c.t.ctx, callTime)
		conn, response, err := websocket.Dial(ctx, c.t.config.BaseURL+"/ws"+query, dialing) //nolint:bodyclose // Dial never leaves it open
		cancel()
		if err == nil {
			conn.SetReadLimit(maxFrame)
			s.conn = conn
			go s.read()
			return s, answer{t: c.t, asked: "GET /ws" + query, status: response.StatusCode, header: response.Header}
		}
		if response == nil {
			c.t.fail("GET /ws%s is not answered: %v", query, unwrapped(err))
		}
		got := answer{t: c.t, asked: "GET /ws" + query, status: response.StatusCode, header: response.Header}
		if response.Body != nil {
			got.body, _ = io.ReadAll(response.Body) // of a long one the beginning
		}
		if got.status == http.StatusTooManyRequests && waits < maxWaits { // of the sockets that may be open
			c.t.pause(time.Second)
			continue
		}
		if got.status == http.StatusSwitchingProtocols {
			c.t.fail("%s: the upgrade is not answered as it should be: %v", got.asked, err)
		}
		return nil, got
	}
}

// connect opens a socket and reads its greeting.
func (c caller) connect(query string, options ...option) (*socket, object) {
	s, got := c.dial(query, options...)
	if s == nil {
		c.t.fail("no WebSocket opens: %s is answered with %d: %s", got.asked, got.status, got.excerpt())
	}
	greeting := s.next("connected")
	c.t.must(greeting.str("type") == "status" && greeting.str("status") == "connected", "the first frame is %v, not that of status connected", greeting)
	return s, greeting
}

// read reads frames until the socket ends, which it does with the check at the latest.
func (s *socket) read() {
	defer close(s.frames)
	for {
		kind, data, err := s.conn.Read(s.t.ctx)
		if err != nil {
			s.ended = err
			return
		}
		var frame object
		if err := json.Unmarshal(data, &frame); err != nil || kind != websocket.MessageText {
			s.ended = fmt.Errorf("a frame is no JSON text: %.200s", data)
			return
		}
		s.t.seen.lookAtPart("a frame of the type "+frame.str("type"), "ServerFrame", frame)
		select {
		case s.frames <- frame:
		case <-s.t.ctx.Done():
			s.ended = s.t.ctx.Err()
			return
		}
	}
}

// next returns the frame that must come.
func (s *socket) next(what string) object {
	timer := time.NewTimer(frameTime)
	defer timer.Stop()
	select {
	case frame, ok := <-s.frames:
		if !ok {
			s.t.fail("the socket ends (%v) instead of telling %s", s.ended, what)
		}
		return frame
	case <-timer.C:
		s.t.fail("the socket does not tell %s within %s", what, frameTime)
	case <-s.t.ctx.Done():
		s.t.fail("")
	}
	return nil
}

// until returns the first frame that is wanted, and passes over those before it.
func (s *socket) until(what string, isWanted func(object) bool) object {
	for {
		if frame := s.next(what); isWanted(frame) {
			return frame
		}
	}
}

// message returns the next message.
func (s *socket) message() object {
	return s.until("a message", func(frame object) bool { return frame.str("type") == "message" })
}

// delivered returns what became of the message of a client's id.
func (s *socket) delivered(clientID string) object {
	frame := s.until("what was delivered", func(frame object) bool {
		return frame.str("status") == "delivered" || frame.str("type") == "error"
	})
	s.t.must(frame.str("status") == "delivered" && frame.str("client_message_id") == clientID, "the message %s is answered with %v", clientID, frame)
	return frame
}

// send sends a frame.
func (s *socket) send(frame any) {
	text, isText := frame.(string)
	data := []byte(text)
	if !isText {
		data, _ = json.Marshal(frame) // objects of the suite's own
	}
	ctx, cancel := context.WithTimeout(s.t.ctx, frameTime)
	defer cancel()
	if err := s.conn.Write(ctx, websocket.MessageText, data); err != nil {
		s.t.fail("a frame cannot be sent: %v", err)
	}
}

// say sends a message.
func (s *socket) say(content, clientID string) {
	s.send(object{"type": "message", "content": content, "client_message_id": clientID})
}

// close ends the socket in order.
func (s *socket) close() { _ = s.conn.Close(websocket.StatusNormalClosure, "") } // it may have ended
