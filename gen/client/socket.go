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
)

// Frame is what a server sends on a WebSocket: a *MessageFrame, *TypingFrame, *SuggestionFrame, *StatusFrame or
// *ErrorFrame.
type Frame interface{ isServerFrame() }

func (*MessageFrame) isServerFrame()    {}
func (*TypingFrame) isServerFrame()     {}
func (*SuggestionFrame) isServerFrame() {}
func (*StatusFrame) isServerFrame()     {}
func (*ErrorFrame) isServerFrame()      {}

const (
	// maxServerFrame is the largest frame that is read: a long reply with all its citations.
	maxServerFrame = 16 << 20
	// firstSilence is how long a socket may be silent until it has said how often it pings.
	firstSilence = time.Minute
	// maxUnanswered is how many messages may wait to be delivered.
	maxUnanswered = 100
	// writeTime is how long a frame may take to be written.
	writeTime = 10 * time.Second
)

// ErrTooManyUnanswered says that a Socket takes no more messages until some of those sent are delivered.
var ErrTooManyUnanswered = errors.New("too many messages wait to be delivered")

// SocketOptions is how a Socket finds its conversation, and says who it is: by what the Client's request editors put into
// Authorization (WithKey), unless Token or Ticket is there; with none of these it is an anonymous visitor.
type SocketOptions struct {
	// SessionID is the conversation or visit to continue; empty: a new one.
	SessionID string
	// BotID is the bot of a new conversation, by id or slug; empty: the default one.
	BotID string
	// After is the last seq that is known already. Nil: only what is new is told; what comes before the first of it while
	// a connection is broken is then missed in a conversation that is continued.
	After *int64
	// Stream asks for replies as they grow, in the typing frames.
	Stream bool
	// Token is a key or a client token that goes as a subprotocol, as browsers send it, and not in Authorization.
	Token string
	// Ticket returns a ticket; it is called for each connection, since a ticket opens one.
	Ticket func(context.Context) (string, error)
}

// Socket is one conversation, held over one WebSocket after the other. Frames reads, and one caller may do so at a time;
// Send may be called by any.
type Socket struct {
	client  *Client
	options SocketOptions

	mu         sync.Mutex
	conn       *websocket.Conn      // nil while there is none
	unanswered []ClientMessageFrame // sent and not yet delivered, in order
}

// NewSocket makes a Socket, which connects when Frames is called. The client must be one of NewClientWithResponses.
func (c *ClientWithResponses) NewSocket(options SocketOptions) *Socket {
	return &Socket{client: c.ClientInterface.(*Client), options: options}
}

// Frames connects, and returns what the server sends until ctx is done, the caller breaks off the loop, or the
// conversation cannot be taken up any more; then the last thing is an error, a *ProblemError where the server refuses.
//
// A connection that breaks, or that pings no more, is followed by another one which resumes after the last seq, a few
// times in a row, with growing pauses. Each begins with a status frame, `connected`. No message is missing or told
// twice, with one exception: of a message whose `delivered` was lost with its connection a *MessageFrame may come before
// the `delivered` of its repetition; both have its message_id.
func (s *Socket) Frames(ctx context.Context) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		var tried patience
		for {
			isOver, err := s.listen(ctx, &tried, yield)
			if isOver {
				return
			}
			if err = tried.again(ctx, err); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// Send sends a message, or has it sent as soon as there is a connection, until the server says that it is `delivered` or
// refuses it with an *ErrorFrame; Frames tells either. A message without a client_message_id gets one; under that it may
// be sent several times and is stored once. The error is ErrTooManyUnanswered.
func (s *Socket) Send(message ClientMessageFrame) error {
	message.Type = ClientMessageFrameTypeMessage
	if message.ClientMessageID == nil {
		message.ClientMessageID = new(uuid.NewString())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unanswered) == maxUnanswered {
		return ErrTooManyUnanswered
	}
	s.unanswered = append(s.unanswered, message)
	if s.conn != nil {
		s.write(message)
	}
	return nil
}

// write writes a frame. Where it cannot, the connection is at its end, which its reader notices.
func (s *Socket) write(message ClientMessageFrame) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTime)
	defer cancel()
	encoded, err := json.Marshal(message)
	if err == nil {
		err = s.conn.Write(ctx, websocket.MessageText, encoded)
	}
	if err != nil {
		_ = s.conn.CloseNow() // it may have ended
	}
}

// listen passes on what comes over one connection. It is over when the caller has enough.
func (s *Socket) listen(ctx context.Context, tried *patience, yield func(Frame, error) bool) (isOver bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := firstSilence
	isAlive := time.AfterFunc(silence, cancel)
	defer isAlive.Stop()
	conn, err := s.dial(ctx, func() { // a ping, which is heard while a frame is read
		isAlive.Reset(silence)
		tried.progressed()
	})
	if err != nil {
		return false, err
	}
	defer s.hangUp(conn)
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			return false, fmt.Errorf("read the socket: %w", err)
		}
		frame, err := frameOf(kind, data)
		if err != nil {
			return false, err
		}
		status, ok := frame.(*StatusFrame)
		isGreeting := ok && status.Status == StatusFrameStatusConnected
		if isGreeting && status.Limits != nil {
			silence = time.Duration(status.Limits.PingSeconds+status.Limits.PongSeconds) * time.Second
		}
		isAlive.Reset(silence)
		s.note(frame)
		if !yield(frame, nil) {
			return true, nil
		}
		if isGreeting {
			s.takeOver(conn)
		} else {
			tried.progressed()
		}
	}
}

// dial connects. A ping is told to heard.
func (s *Socket) dial(ctx context.Context, heard func()) (*websocket.Conn, error) {
	params := &ConnectParams{After: s.options.After}
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
	request, err := NewConnectRequest(s.client.Server, params)
	if err != nil {
		return nil, err
	}
	if err := s.client.applyEditors(ctx, request, nil); err != nil {
		return nil, err
	}
	options := &websocket.DialOptions{
		HTTPHeader:     request.Header,
		OnPingReceived: func(context.Context, []byte) bool { heard(); return true },
	}
	if s.options.Token != "" || s.options.Ticket != nil {
		request.Header.Del("Authorization")
	}
	if s.options.Token != "" {
		options.Subprotocols = []string{"bearer", s.options.Token}
	}
	if doer, ok := s.client.Client.(*http.Client); ok {
		options.HTTPClient = doer
	}
	conn, response, err := websocket.Dial(ctx, request.URL.String(), options) //nolint:bodyclose // Dial never leaves it open
	if err != nil {
		if response != nil && response.StatusCode >= 400 {
			return nil, refusalOf(response)
		}
		return nil, fmt.Errorf("open the socket: %w", err)
	}
	conn.SetReadLimit(maxServerFrame)
	return conn, nil
}

// note keeps what a later connection has to know of a frame.
func (s *Socket) note(frame Frame) {
	switch frame := frame.(type) {
	case *MessageFrame:
		s.cameTo(frame.Seq)
	case *ErrorFrame:
		if frame.ClientMessageID != nil {
			s.answered(*frame.ClientMessageID)
		}
	case *StatusFrame:
		switch frame.Status {
		case StatusFrameStatusConnected:
			if s.options.SessionID == "" {
				s.cameTo(0) // it has just begun
			}
			s.options.SessionID, s.options.BotID = frame.SessionID.String(), ""
		case StatusFrameStatusDelivered:
			s.cameTo(*frame.Seq)
			if frame.ClientMessageID != nil {
				s.answered(*frame.ClientMessageID)
			}
		}
	}
}

// cameTo notes a seq. That of a repetition is an old one.
func (s *Socket) cameTo(seq int64) {
	if s.options.After == nil || *s.options.After < seq {
		s.options.After = &seq
	}
}

func (s *Socket) answered(clientMessageID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unanswered = slices.DeleteFunc(s.unanswered, func(one ClientMessageFrame) bool { return *one.ClientMessageID == clientMessageID })
}

// takeOver has a connection carry what is sent, beginning with what has not been answered.
func (s *Socket) takeOver(conn *websocket.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
	for _, one := range s.unanswered {
		s.write(one)
	}
}

// hangUp ends a connection.
func (s *Socket) hangUp(conn *websocket.Conn) {
	s.mu.Lock()
	s.conn = nil
	s.mu.Unlock()
	_ = conn.Close(websocket.StatusNormalClosure, "") // it may have ended
}

// frameOf reads a frame.
func frameOf(kind websocket.MessageType, data []byte) (Frame, error) {
	var frame Frame
	var head struct{ Type string }
	if err := json.Unmarshal(data, &head); err != nil || kind != websocket.MessageText {
		return nil, fmt.Errorf("a frame is not a JSON object: %.200s", data)
	}
	switch head.Type {
	case "message":
		frame = &MessageFrame{}
	case "typing":
		frame = &TypingFrame{}
	case "suggestion":
		frame = &SuggestionFrame{}
	case "status":
		frame = &StatusFrame{}
	case "error":
		frame = &ErrorFrame{}
	default:
		return nil, fmt.Errorf("a frame is of the unknown type %q", head.Type)
	}
	if err := json.Unmarshal(data, frame); err != nil {
		return nil, fmt.Errorf("a frame is not as it should be: %w", err)
	}
	return frame, nil
}
