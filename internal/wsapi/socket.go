package wsapi

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"parley/internal/auth"
	"parley/internal/feed"
)

// socket is one open WebSocket.
//
// One goroutine reads frames (Server.serve, readFrames). Everything is written, and the socket is
// closed, by its writer (runWriter): a job of the worker pool that wake submits when there may be
// something to write, and that exits when nothing is left. At most one writer runs at a time.
//
// The states of a socket, and the function that makes each transition:
//
//	   Server.Connect
//	         │
//	         ▼
//	      opened
//	         │ writeConnected: the client is greeted
//	         ├──────────────────────────────┐
//	         │ the client has all messages  │ messages follow the client's cursor
//	         ▼                              ▼
//	    ┌─ live ◄──────── catchUp ──── catching up
//	    │    │     nothing is missing       ▲
//	    │    └──────────────────────────────┘
//	    │      writeEvent: a gap in seq; writeNext: the event queue was full;
//	    │      writeResult: a replayed message is newer than the cursor
//	    │
//	    │ checkTimeouts: the key or token expires within a minute
//	    ▼
//	expiring: live or catching up as before; flush has written the warning
//
//	any of the above
//	    │ requestClose: checkTimeouts (expired, idle), ping (no pong), Server.Close,
//	    │               Server.serve (the client has left, or sent an invalid frame)
//	    │ flush returns an error: the write timed out, the conversation was deleted,
//	    │               the key was revoked, the visit expired, the database failed
//	    ▼
//	 closing: runWriter calls close, which writes the last frame and the close frame
//	    │       (a client that does not read has timeoutConn's close grace period)
//	    ▼
//	 closed: close closes s.closed; Server.serve waits for the goroutines and
//	         Server.release gives back the quota
//
// Closing is final: the first reason wins (requestClose), and nothing is written afterwards.
type socket struct {
	server      *Server
	conn        *websocket.Conn
	tcp         *timeoutConn // below conn
	watch       *feed.Watch
	store       storeFunc
	caller      auth.Principal
	address     string // the client's IP address
	wantsDeltas bool   // the client wants the text of a reply while it is written

	wakeup  chan struct{}    // holds a value if there may be something to write
	results chan frameResult // from the reader to the writer
	closed  chan struct{}    // closed by close

	mu         sync.Mutex // guards the fields up to unacknowledged
	reason     error      // why the socket is to be closed; nil while it is not
	isClosed   bool       // no writer may be started
	isWriting  bool       // a writer is submitted or running
	isPinging  bool
	goroutines sync.WaitGroup // the writer and the ping
	// unacknowledged holds the client_message_id of each message that this socket has sent and whose
	// event the writer has not seen.
	unacknowledged map[uuid.UUID]string

	lastActive atomic.Int64 // when the last frame was read or written, as Unix time in ns
	warningDue atomic.Bool  // the writer must warn that the key or token expires

	// Used by checkTimeouts alone.
	nextPing time.Time
	isWarned bool

	writerState
}

// wake makes the writer check for something to write, and starts it if none is running. It never
// blocks.
func (s *socket) wake() {
	select {
	case s.wakeup <- struct{}{}:
	default: // the writer has not yet handled the last wakeup
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isWriting || s.isClosed {
		return
	}
	s.isWriting = true
	s.goroutines.Add(1)
	s.server.pool.submit(s.runWriter)
}

// requestClose makes the writer close the socket. Only the first reason counts. It never blocks.
func (s *socket) requestClose(reason error) {
	s.mu.Lock()
	if s.reason == nil {
		s.reason = reason
	}
	s.mu.Unlock()
	s.wake()
}

// closeReason returns why the socket is to be closed, or nil.
func (s *socket) closeReason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// runWriter writes until nothing is left or the socket is closed.
func (s *socket) runWriter() {
	defer s.goroutines.Done()
	ctx := context.Background() // checkTimeouts bounds writes, and the store bounds queries
	for {
		select {
		case <-s.wakeup:
		default:
		}
		grown, err := s.flush(ctx)
		switch {
		case err != nil:
			s.close(ctx, err)
			return
		case grown != nil: // a reply is in progress
			s.server.pool.block(func() {
				select {
				case <-grown:
				case <-s.wakeup:
				}
			})
		case s.stopWriting():
			return
		}
	}
}

// stopWriting marks the writer as stopped and returns true, unless wake was called since the last
// flush.
func (s *socket) stopWriting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isWriting = len(s.wakeup) > 0
	return !s.isWriting
}

// write writes a frame.
func (s *socket) write(ctx context.Context, frame []byte) error {
	err := s.conn.Write(ctx, websocket.MessageText, frame)
	if s.tcp.isTimedOut.Load() {
		return errSlow
	}
	s.touch()
	return err
}

// touch restarts the idle timeout.
func (s *socket) touch() {
	if s.server.Limits.IdleTimeout > 0 {
		s.lastActive.Store(time.Now().UnixNano())
	}
}

// close writes the last frame, closes the connection, and waits up to five seconds for the client's close frame.
// Nothing is written afterwards.
func (s *socket) close(ctx context.Context, reason error) {
	closure := closureOf(reason)
	if frame := closure.lastFrame(s); frame != nil {
		_ = s.write(ctx, frame) // fails if the client has disconnected
	}
	s.server.closed[closure.label].Add(1)
	s.server.Log.Debug("close socket", "session_id", s.watch.SessionID, "code", closure.code, "err", reason)
	s.server.pool.block(func() { _ = s.conn.Close(closure.code, closure.text) })
	s.mu.Lock()
	s.isClosed = true
	s.mu.Unlock()
	close(s.closed)
}

// addUnacknowledged records a message before it is sent, so that the writer recognizes its event.
func (s *socket) addUnacknowledged(message uuid.UUID, clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unacknowledged == nil {
		s.unacknowledged = make(map[uuid.UUID]string)
	}
	s.unacknowledged[message] = clientID
}

// takeUnacknowledged removes a message and reports whether this socket has sent it.
func (s *socket) takeUnacknowledged(message uuid.UUID) (clientID string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clientID, ok = s.unacknowledged[message]
	delete(s.unacknowledged, message)
	return clientID, ok
}
