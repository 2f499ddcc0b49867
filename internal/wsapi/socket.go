package wsapi

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/fault"
)

// errEnded ends a socket whose last frame is written.
var errEnded = errors.New("the socket has ended")

// socket is one open WebSocket. One goroutine reads frames, one sends pings, one does
// all the rest.
type socket struct {
	sockets *Sockets
	conn    *websocket.Conn
	watch   *chat.Watch
	who     auth.Principal
	address string
	streams bool // the client wants the reply as it grows
	log     *slog.Logger

	// cursor is the seq that the client has come to.
	cursor int64
	// own holds what this socket has sent and not been told to be delivered: the
	// client's id by the message's. The reader adds to it before it sends.
	ownMu sync.Mutex
	own   map[uuid.UUID]string

	following *chat.Reply // the reply that is being written
	at        chat.Position
}

// serve runs the socket until it ends, for whatever reason.
func (s *socket) serve(ctx context.Context) {
	// The reading goes on until the socket is closed: to cancel it would cut the
	// connection off.
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	running, end := context.WithCancelCause(reading)
	frames := make(chan incoming)
	var helpers sync.WaitGroup
	helpers.Go(func() { end(s.read(reading, frames)) })
	helpers.Go(func() { end(s.keepAlive(running)) })

	err := s.run(running, frames)
	code, reason := closeCode(err)
	s.log.Debug("socket closed", "code", code, "error", err)
	// Close waits for the client's own close frame, for five seconds at the most.
	_ = s.conn.Close(code, reason)
	stop()
	helpers.Wait()
	end(nil)
}

func closeCode(err error) (websocket.StatusCode, string) {
	switch {
	case errors.Is(err, errClosing):
		return websocket.StatusGoingAway, "the server is stopping"
	case errors.Is(err, errEnded):
		return websocket.StatusNormalClosure, ""
	case errors.Is(err, context.DeadlineExceeded):
		return websocket.StatusPolicyViolation, "too slow; resume with ?after="
	case fault.Is(err, fault.TooLarge):
		return websocket.StatusMessageTooBig, "a frame may have 64 KiB"
	case websocket.CloseStatus(err) != -1:
		return websocket.StatusNormalClosure, ""
	}
	return websocket.StatusInternalError, ""
}

// run writes all that the client gets.
func (s *socket) run(ctx context.Context, frames <-chan incoming) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	expiring, expired, stop := s.expiry()
	defer stop()
	for {
		grown, err := s.writeGrowth(ctx)
		if err != nil {
			return err
		}
		select {
		case event := <-s.watch.Events:
			err = s.tell(ctx, event)
		case <-s.watch.Missed:
			err = s.catchUp(ctx)
		case <-grown:
		case frame := <-frames:
			err = s.answer(ctx, frame)
		case <-expiring:
			err = s.write(ctx, expiringFrame(s.watch, *s.watch.ExpiresAt))
		case <-expired:
			return errors.Join(s.write(ctx, statusFrame(s, "expired")), errEnded)
		case <-s.sockets.closing.Done():
			return errors.Join(s.write(ctx, statusFrame(s, "closing")), errClosing)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// expiryWarning is how long before the end of a key or a token the client is told.
const expiryWarning = time.Minute

// expiry tells a while before the caller's key or token ends, and when it does; a
// visit's end is an event.
func (s *socket) expiry() (expiring, expired <-chan time.Time, stop func()) {
	if s.watch.IsAnonymous || s.watch.ExpiresAt == nil {
		return nil, nil, func() {}
	}
	left := time.Until(*s.watch.ExpiresAt)
	warning, end := time.NewTimer(left-expiryWarning), time.NewTimer(left)
	return warning.C, end.C, func() { warning.Stop(); end.Stop() }
}

var errGone = fault.New(fault.NotFound, "The conversation was deleted.")

var errClosing = errors.New("the server is stopping")

// begin greets the client and replays what it has missed.
func (s *socket) begin(ctx context.Context) error {
	if err := s.write(ctx, connectedFrame(s)); err != nil {
		return err
	}
	if s.cursor > s.watch.LastSeq {
		ahead := fault.New(fault.InvalidRequest, "There is no such seq yet; after is taken as the newest.")
		s.cursor = s.watch.LastSeq
		if err := s.write(ctx, errorFrame(s, ahead, "")); err != nil {
			return err
		}
	}
	return s.catchUp(ctx)
}

// tell passes an event on.
func (s *socket) tell(ctx context.Context, event *chat.Event) error {
	switch {
	case event.IsExpired, event.EndedKey != uuid.Nil && event.EndedKey == s.who.KeyID:
		return errors.Join(s.write(ctx, statusFrame(s, "expired")), errEnded)
	case event.EndedKey != uuid.Nil:
		return nil
	case event.IsGone:
		return errors.Join(s.write(ctx, errorFrame(s, errGone, "")), errEnded)
	case event.ExpiresAt != nil:
		return s.write(ctx, event.Encoded(func(e *chat.Event) []byte { return expiringFrame(s.watch, *e.ExpiresAt) }))
	case event.Reply != nil:
		s.following, s.at = event.Reply, event.Reply.Beginning()
		return s.write(ctx, encode(typingFrame(s, true, event.Reply.RunID)))
	case event.Rated != nil:
		return s.tellFeedback(ctx, event)
	case event.Message == nil:
		return s.catchUp(ctx)
	case event.Message.Seq <= s.cursor:
		return nil
	case event.Message.Seq > s.cursor+1:
		return s.catchUp(ctx)
	}
	return s.writeMessage(ctx, event.Message, event.Encoded(func(e *chat.Event) []byte { return messageFrame(s.watch, e.Message) }))
}

// tellFeedback passes on that a message is liked; one that the client has yet to get
// brings its feedback along.
func (s *socket) tellFeedback(ctx context.Context, event *chat.Event) error {
	if event.Rated.Seq > s.cursor {
		return nil
	}
	return s.write(ctx, event.Encoded(func(e *chat.Event) []byte { return feedbackFrame(s.watch, e.Rated) }))
}

// catchUp writes what was committed beyond the cursor, until there is no more. Where
// that cannot be read the socket ends, for it would have a gap.
func (s *socket) catchUp(ctx context.Context) error {
	for {
		missed, err := s.watch.Since(ctx, s.cursor)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return errors.Join(s.write(ctx, errorFrame(s, err, "")), err)
		}
		if len(missed) == 0 {
			return nil
		}
		for _, message := range missed {
			if err := s.writeMessage(ctx, &message, messageFrame(s.watch, &message)); err != nil {
				return err
			}
		}
	}
}

// writeMessage writes the next message: as `delivered` to who sent it, else as it is,
// after what is left of the reply's growth, and with its suggestions.
func (s *socket) writeMessage(ctx context.Context, message *db.Message, frame []byte) error {
	s.cursor = message.Seq
	if clientID, isOwn := s.takeOwn(message.ID); isOwn {
		return s.write(ctx, deliveredFrame(s, message.ID, message.Seq, clientID))
	}
	if message.Sender == "bot" {
		if err := s.endTyping(ctx, message.RunID); err != nil {
			return err
		}
	}
	if err := s.write(ctx, frame); err != nil {
		return err
	}
	if message.Suggestions == nil {
		return nil
	}
	return s.write(ctx, suggestionFrame(s, message.Suggestions))
}

// writeGrowth writes how the reply has grown, and returns what tells of more. A reply
// that ended without a text has no message whose coming would end the typing.
func (s *socket) writeGrowth(ctx context.Context) (<-chan struct{}, error) {
	if s.following == nil {
		return nil, nil
	}
	outcome, grown, err := s.drain(ctx)
	if err != nil || outcome == nil || outcome.Content != "" {
		return grown, err
	}
	return nil, s.stopTyping(ctx)
}

// endTyping comes before the message that a run has written.
func (s *socket) endTyping(ctx context.Context, run *uuid.UUID) error {
	if s.following == nil || run == nil || s.following.RunID != *run {
		return nil
	}
	if _, _, err := s.drain(ctx); err != nil {
		return err
	}
	return s.stopTyping(ctx)
}

func (s *socket) stopTyping(ctx context.Context) error {
	ended := s.following.RunID
	s.following = nil
	return s.write(ctx, encode(typingFrame(s, false, ended)))
}

// drain writes the deltas that there are, to a client that wants them.
func (s *socket) drain(ctx context.Context) (*chat.Outcome, <-chan struct{}, error) {
	for {
		delta, after, isReset, outcome, grown := s.following.Next(s.at)
		s.at = after
		if outcome != nil {
			return outcome, nil, nil
		}
		if delta == "" && !isReset {
			return nil, grown, nil
		}
		if !s.streams {
			continue
		}
		if err := s.write(ctx, encode(growthFrame(s, delta, isReset, s.following.RunID))); err != nil {
			return nil, nil, err
		}
	}
}

func (s *socket) addOwn(message uuid.UUID, clientID string) {
	s.ownMu.Lock()
	defer s.ownMu.Unlock()
	s.own[message] = clientID
}

func (s *socket) takeOwn(message uuid.UUID) (clientID string, isOwn bool) {
	s.ownMu.Lock()
	defer s.ownMu.Unlock()
	clientID, isOwn = s.own[message]
	delete(s.own, message)
	return clientID, isOwn
}

func (s *socket) write(ctx context.Context, frame []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.sockets.patience.write)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, frame)
}

// keepAlive sends pings until one is not answered in its time or ctx is done. The
// answer is seen by the reader, who may wait for run: so run must not wait for it.
func (s *socket) keepAlive(ctx context.Context) error {
	ticker := time.NewTicker(s.sockets.patience.pingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := s.ping(ctx); err != nil {
			return err
		}
	}
}

func (s *socket) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.sockets.patience.ping)
	defer cancel()
	return s.conn.Ping(ctx)
}
