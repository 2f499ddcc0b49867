package wsapi

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/chat"
)

// Why a socket ends by the server's own will.
var (
	errClosing = errors.New("the server is stopping")
	errExpired = errors.New("the visit or the key has ended")
	errIdle    = errors.New("nothing was said for too long")
	errSlow    = errors.New("the client reads too slowly")
	errSilent  = errors.New("the client did not answer a ping")
	errGone    = apperr.New(apperr.NotFound, "The conversation was deleted.")
)

// socket is one open WebSocket. One goroutine reads frames. All that is written is
// written by one of the crew, who comes when there is something and leaves when there
// is nothing left, and who also closes the socket.
type socket struct {
	sockets *Sockets
	conn    *websocket.Conn
	line    *line
	watch   *chat.Watch
	who     auth.Principal
	address string
	streams bool // the client wants the reply as it grows

	woken   chan struct{} // has a value when there may be something to write
	answers chan incoming // from the reader
	over    chan struct{} // closed when the socket is

	// mu guards what all may touch.
	mu        sync.Mutex
	why       error // the socket is to end
	isOver    bool  // nobody writes any more
	isWriting bool
	isPinging bool
	helpers   sync.WaitGroup
	// own holds what this socket has sent and not been told to be delivered: the
	// client's id by the message's. The reader adds to it before it sends.
	own map[uuid.UUID]string

	lastActive atomic.Int64 // when a frame last came or went, in ns of the Unix time
	isEnding   atomic.Bool  // the key or token ends soon, of which the client has not been told
	nextPing   time.Time    // the clock's, and isWarned
	isWarned   bool

	telling // the writer's
}

// wake has the writer look what there is to be written. It never waits.
func (s *socket) wake() {
	select {
	case s.woken <- struct{}{}:
	default: // it has yet to look
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isWriting || s.isOver {
		return
	}
	s.isWriting = true
	s.helpers.Add(1)
	s.sockets.crew.hand(s.write)
}

// end has the writer close the socket. The first reason is the one that counts.
func (s *socket) end(why error) {
	s.mu.Lock()
	if s.why == nil {
		s.why = why
	}
	s.mu.Unlock()
	s.wake()
}

// write writes what there is, until there is nothing left.
func (s *socket) write() {
	defer s.helpers.Done()
	ctx := context.Background() // a write is bounded by the clock, a query by the store
	for {
		select {
		case <-s.woken:
		default:
		}
		grown, err := s.writeAll(ctx)
		switch {
		case err != nil:
			s.close(ctx, err)
			return
		case grown != nil: // a reply is being written
			s.sockets.crew.wait(func() {
				select {
				case <-grown:
				case <-s.woken:
				}
			})
		case s.mayRest():
			return
		}
	}
}

// mayRest tells the writer to end, unless somebody has woken it meanwhile.
func (s *socket) mayRest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isWriting = len(s.woken) > 0
	return !s.isWriting
}

func (s *socket) ending() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// send writes a frame.
func (s *socket) send(ctx context.Context, frame []byte) error {
	err := s.conn.Write(ctx, websocket.MessageText, frame)
	if s.line.isSlow.Load() {
		return errSlow
	}
	s.note()
	return err
}

// note notes that something was said, where silence has a limit.
func (s *socket) note() {
	if s.sockets.Limits.IdleTime > 0 {
		s.lastActive.Store(time.Now().UnixNano())
	}
}

// close says why, closes the socket and waits for the client's own close frame, for
// five seconds at the most. Nothing is written after it.
func (s *socket) close(ctx context.Context, why error) {
	if frame := lastFrame(s, why); frame != nil {
		_ = s.send(ctx, frame) // who cannot be told has left
	}
	code, reason := closeCode(why)
	s.sockets.closed[endingOf(why)].Add(1)
	s.sockets.Log.Debug("socket closed", "session_id", s.watch.SessionID, "code", code, "error", why)
	s.sockets.crew.wait(func() { _ = s.conn.Close(code, reason) })
	s.mu.Lock()
	s.isOver = true
	s.mu.Unlock()
	close(s.over)
}

func lastFrame(s *socket, why error) []byte {
	switch {
	case errors.Is(why, errClosing):
		return statusFrame(s, "closing")
	case errors.Is(why, errExpired):
		return statusFrame(s, "expired")
	case errors.Is(why, errIdle):
		return statusFrame(s, "idle")
	case errors.Is(why, errGone):
		return errorFrame(s, errGone, "")
	}
	return nil
}

func closeCode(why error) (websocket.StatusCode, string) {
	switch {
	case errors.Is(why, errClosing):
		return websocket.StatusGoingAway, "the server is stopping"
	case errors.Is(why, errExpired), errors.Is(why, errGone):
		return websocket.StatusNormalClosure, ""
	case errors.Is(why, errIdle):
		return websocket.StatusNormalClosure, "idle; resume with ?after="
	case errors.Is(why, errSilent):
		return websocket.StatusPolicyViolation, "no answer to a ping; resume with ?after="
	case errors.Is(why, errSlow), errors.Is(why, os.ErrDeadlineExceeded), errors.Is(why, context.DeadlineExceeded):
		return websocket.StatusPolicyViolation, "too slow; resume with ?after="
	case apperr.Is(why, apperr.TooLarge):
		return websocket.StatusMessageTooBig, "a frame may have 64 KiB"
	case websocket.CloseStatus(why) != -1:
		return websocket.StatusNormalClosure, ""
	}
	return websocket.StatusInternalError, ""
}

// endings are why sockets end, in one word each.
var endings = []string{"stopping", "expired", "deleted", "idle", "silent", "slow", "too_large", "left", "cut_off", "failed"}

func endingOf(why error) string {
	switch {
	case errors.Is(why, errClosing):
		return "stopping"
	case errors.Is(why, errExpired):
		return "expired"
	case errors.Is(why, errGone):
		return "deleted"
	case errors.Is(why, errIdle):
		return "idle"
	case errors.Is(why, errSilent):
		return "silent"
	case errors.Is(why, errSlow), errors.Is(why, os.ErrDeadlineExceeded), errors.Is(why, context.DeadlineExceeded):
		return "slow"
	case apperr.Is(why, apperr.TooLarge):
		return "too_large"
	case websocket.CloseStatus(why) != -1:
		return "left" // with a close frame
	}
	if _, isCut := errors.AsType[net.Error](why); isCut || errors.Is(why, io.EOF) || errors.Is(why, net.ErrClosed) {
		return "cut_off"
	}
	return "failed"
}

func (s *socket) addOwn(message uuid.UUID, clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		s.own = make(map[uuid.UUID]string)
	}
	s.own[message] = clientID
}

func (s *socket) takeOwn(message uuid.UUID) (clientID string, isOwn bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clientID, isOwn = s.own[message]
	delete(s.own, message)
	return clientID, isOwn
}
