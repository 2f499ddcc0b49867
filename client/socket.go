package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	api "parley/gen/client"
)

const (
	// maxFrameBytes is the size of the largest frame that is accepted: a long reply with all its
	// citations.
	maxFrameBytes = 16 << 20
	// initialReadTimeout applies until the server has announced its ping interval.
	initialReadTimeout = time.Minute
	// maxPending is how many messages may be sent and not yet acknowledged.
	maxPending = 100
	// writeTimeout bounds the writing of one frame.
	writeTimeout = 10 * time.Second
)

// ErrTooManyPending is returned by Socket.Send while 100 messages wait to be acknowledged.
var ErrTooManyPending = errors.New("too many messages are not acknowledged yet")

// SocketOptions select a Socket's conversation and how it authenticates: with the Client's
// Authorization header (WithKey), unless Token or Ticket is set. A socket with none of them is an
// anonymous visitor's.
type SocketOptions struct {
	// SessionID is the conversation or visit to continue. If it is empty, a new one is started.
	SessionID string
	// BotID is the id or slug of the bot of a new conversation. If it is empty, the default bot is
	// used.
	BotID string
	// After is the seq of the last message that is known already; 0 replays the conversation. If it
	// is nil, only new messages are delivered: then those that arrive during a reconnect before the
	// first new message are missed.
	After *int64
	// Stream requests the growing text of replies, in typing frames.
	Stream bool
	// Token is a key or a client token to send as a subprotocol, as browsers do, instead of in
	// Authorization.
	Token string
	// Ticket returns a ticket. It is called for every connection, because a ticket opens only one.
	Ticket func(context.Context) (string, error)
}

// Socket is one conversation over any number of successive WebSockets.
//
// One goroutine at a time may range over Frames. Send is safe for concurrent use.
//
//	             dial                    "connected"
//	(no socket) ──────▶ awaiting greeting ──────────▶ open: sends the pending messages again
//	     ▲                     │                        │
//	     └── backoff.wait ◀────┴── broken or silent ◀───┘
type Socket struct {
	client  *Client
	options SocketOptions // Frames updates SessionID and After as frames arrive; nothing else uses them

	mu      sync.Mutex
	conn    *websocket.Conn      // nil unless open
	pending []ClientMessageFrame // sent and neither delivered nor refused, in order
}

// NewSocket returns a Socket. It connects when Frames is called.
func (c *Client) NewSocket(options SocketOptions) *Socket {
	return &Socket{client: c, options: options}
}

// Frames connects and yields what the server sends, until ctx is done, the caller breaks out of the
// loop, or reconnecting fails for good. In the last case the final element is an error, a
// *ProblemError if the server refused the connection.
//
// After a broken or silent connection it reconnects and resumes after the last seq, see the package
// comment. Each connection begins with a StatusFrame, StatusConnected.
//
// Each message is yielded exactly once, with one exception: if the acknowledgement of a sent
// message was lost with its connection, a *MessageFrame may come before the StatusDelivered of the
// resent message. Both have the same MessageID.
func (s *Socket) Frames(ctx context.Context) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		var retry backoff
		for {
			done, err := s.read(ctx, &retry, yield)
			if done {
				return
			}
			if err = retry.wait(ctx, err); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// Send sends a message, or queues it until the socket is connected. It does not wait for the
// outcome: Frames yields either a StatusDelivered or an *ErrorFrame with its client_message_id. The
// message is resent after every reconnect until then and is stored once, because it keeps its
// ClientMessageID; Send adds one if it is missing. The only error is ErrTooManyPending.
func (s *Socket) Send(message ClientMessageFrame) error {
	message.Type = api.ClientMessageFrameTypeMessage
	if message.ClientMessageID == nil {
		message.ClientMessageID = new(uuid.NewString())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == maxPending {
		return ErrTooManyPending
	}
	s.pending = append(s.pending, message)
	if s.conn != nil {
		s.write(message)
	}
	return nil
}

// write writes a frame; the caller holds mu. A failed write closes the connection, which ends its
// reader.
func (s *Socket) write(message ClientMessageFrame) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	encoded, err := json.Marshal(message)
	if err == nil {
		err = s.conn.Write(ctx, websocket.MessageText, encoded)
	}
	if err != nil {
		_ = s.conn.CloseNow() // it may be closed already
	}
}

// read yields the frames of one connection. It is done when the caller breaks out of the loop.
func (s *Socket) read(ctx context.Context, retry *backoff, yield func(Frame, error) bool) (done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	readTimeout := initialReadTimeout
	timeout := time.AfterFunc(readTimeout, cancel)
	defer timeout.Stop()
	// Pings are handled inside conn.Read, on this goroutine.
	conn, err := s.dial(ctx, func() {
		timeout.Reset(readTimeout)
		retry.reset()
	})
	if err != nil {
		return false, err
	}
	defer s.close(conn)
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			return false, fmt.Errorf("read from the socket: %w", err)
		}
		frame, err := decodeFrame(kind, data)
		if err != nil {
			return false, err
		}
		status, ok := frame.(*StatusFrame)
		isGreeting := ok && status.Status == StatusConnected
		if isGreeting && status.Limits != nil {
			readTimeout = time.Duration(status.Limits.PingSeconds+status.Limits.PongSeconds) * time.Second
		}
		timeout.Reset(readTimeout)
		s.advance(frame)
		if !yield(frame, nil) {
			return true, nil
		}
		if isGreeting {
			s.open(conn)
		} else {
			retry.reset()
		}
	}
}

// dial opens a connection. onPing is called for every ping that it receives.
func (s *Socket) dial(ctx context.Context, onPing func()) (*websocket.Conn, error) {
	request, err := s.request(ctx)
	if err != nil {
		return nil, err
	}
	options := &websocket.DialOptions{
		HTTPHeader:     request.Header,
		OnPingReceived: func(context.Context, []byte) bool { onPing(); return true },
	}
	if s.options.Token != "" {
		options.Subprotocols = []string{"bearer", s.options.Token}
	}
	if httpClient, ok := s.client.raw.Client.(*http.Client); ok {
		options.HTTPClient = httpClient
	}
	conn, response, err := websocket.Dial(ctx, request.URL.String(), options) //nolint:bodyclose // Dial closes the body
	if err != nil {
		if response != nil && response.StatusCode >= 400 {
			return nil, readProblem(response)
		}
		return nil, fmt.Errorf("open the socket: %w", err)
	}
	conn.SetReadLimit(maxFrameBytes)
	return conn, nil
}

// request returns the request that opens a connection and resumes after the last seq.
func (s *Socket) request(ctx context.Context) (*http.Request, error) {
	params := &api.ConnectParams{After: s.options.After}
	if s.options.SessionID != "" {
		params.SessionID = &s.options.SessionID
	}
	if s.options.BotID != "" {
		params.BotID = &s.options.BotID
	}
	if s.options.Stream {
		params.Stream = &s.options.Stream
	}
	if s.options.Ticket != nil {
		ticket, err := s.options.Ticket(ctx)
		if err != nil {
			return nil, err
		}
		params.Ticket = &ticket
	}
	request, err := api.NewConnectRequest(s.client.raw.Server, params)
	if err != nil {
		return nil, err
	}
	for _, edit := range s.client.raw.RequestEditors {
		if err := edit(ctx, request); err != nil {
			return nil, err
		}
	}
	if s.options.Token != "" || s.options.Ticket != nil {
		request.Header.Del("Authorization")
	}
	return request, nil
}

// advance records what the next connection has to resume after.
func (s *Socket) advance(frame Frame) {
	switch frame := frame.(type) {
	case *MessageFrame:
		s.advanceTo(frame.Seq)
	case *ErrorFrame:
		if frame.ClientMessageID != nil {
			s.acknowledge(*frame.ClientMessageID)
		}
	case *StatusFrame:
		switch frame.Status {
		case StatusConnected:
			if s.options.SessionID == "" {
				s.advanceTo(0) // a new conversation has no messages
			}
			s.options.SessionID, s.options.BotID = frame.SessionID.String(), ""
		case StatusDelivered:
			s.advanceTo(*frame.Seq)
			if frame.ClientMessageID != nil {
				s.acknowledge(*frame.ClientMessageID)
			}
		}
	}
}

// advanceTo moves After forward. A resent message has its old seq, which changes nothing.
func (s *Socket) advanceTo(seq int64) {
	if s.options.After == nil || *s.options.After < seq {
		s.options.After = &seq
	}
}

// acknowledge removes a message from those that are resent.
func (s *Socket) acknowledge(clientMessageID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = slices.DeleteFunc(s.pending, func(message ClientMessageFrame) bool {
		return *message.ClientMessageID == clientMessageID
	})
}

// open lets Send use the connection, and resends the pending messages first.
func (s *Socket) open(conn *websocket.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
	for _, message := range s.pending {
		s.write(message)
	}
}

// close ends a connection. Send queues messages from then on.
func (s *Socket) close(conn *websocket.Conn) {
	s.mu.Lock()
	s.conn = nil
	s.mu.Unlock()
	_ = conn.Close(websocket.StatusNormalClosure, "") // it may be closed already
}
