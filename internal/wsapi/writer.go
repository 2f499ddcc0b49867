package wsapi

import (
	"context"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/feed"
	"parley/internal/reply"
)

// writerState is what the client has received so far. Only the writer uses it.
type writerState struct {
	isConnected bool         // the connected frame was written
	cursor      int64        // the seq of the newest message that the client has
	reply       *reply.Reply // the reply in progress; nil if none
	position    reply.Position
	typingEnd   []byte // the frame that ends the reply
}

// eventKey identifies the frames of an event in the cache. The frames of a reply's start have a run ID
// for clients that receive deltas.
type eventKey struct {
	event     feed.Event
	withRunID bool
}

// deltaKey identifies the frame of a delta in the cache.
type deltaKey struct {
	reply    *reply.Reply
	from, to reply.Position
}

// flush writes everything that is due. While a reply is in progress, it returns the channel that
// signals when the reply has grown.
func (s *socket) flush(ctx context.Context) (<-chan struct{}, error) {
	if !s.isConnected {
		s.isConnected = true
		if err := s.writeConnected(ctx); err != nil {
			return nil, err
		}
	}
	for {
		if err := s.closeReason(); err != nil {
			return nil, err
		}
		if s.warningDue.CompareAndSwap(true, false) {
			if err := s.write(ctx, expiringFrame(s.watch, *s.watch.ExpiresAt)); err != nil {
				return nil, err
			}
		}
		grown, err := s.writeReply(ctx)
		if err != nil {
			return nil, err
		}
		if ok, err := s.writeNext(ctx); !ok || err != nil {
			return grown, err
		}
	}
}

// writeNext writes the next event or result and reports whether there was one. It polls one channel
// after the other, because a select over all of them costs a tenth of a delivery.
func (s *socket) writeNext(ctx context.Context) (ok bool, err error) {
	select {
	case event := <-s.watch.Events:
		return true, s.writeEvent(ctx, event)
	default:
	}
	select {
	case <-s.watch.Missed:
		return true, s.catchUp(ctx)
	default:
	}
	select {
	case result := <-s.results:
		return true, s.writeResult(ctx, result)
	default:
	}
	return false, nil
}

// writeConnected writes the connected frame and the messages that the client has missed.
func (s *socket) writeConnected(ctx context.Context) error {
	if err := s.write(ctx, connectedFrame(s)); err != nil {
		return err
	}
	s.watch.Bot = db.Bot{} // no longer needed, and possibly large
	if s.cursor > s.watch.LastSeq {
		ahead := apperr.New(apperr.InvalidRequest, "The value of after must not exceed the newest seq, which is used instead.")
		s.cursor = s.watch.LastSeq
		if err := s.write(ctx, errorFrame(s, ahead, "")); err != nil {
			return err
		}
	}
	if s.cursor == s.watch.LastSeq {
		return nil // later messages arrive as events, after the event of their reply's start
	}
	return s.catchUp(ctx)
}

// writeEvent writes an event.
func (s *socket) writeEvent(ctx context.Context, event feed.Event) error {
	switch event := event.(type) {
	case *feed.MessageStored:
		switch message := event.Message; {
		case message.Seq <= s.cursor:
			return nil
		case message.Seq > s.cursor+1:
			return s.catchUp(ctx)
		default:
			return s.writeMessage(ctx, message, s.cached(event, func() [][]byte { return messageFrames(s.watch, message) }))
		}
	case *feed.ReplyStarted:
		return s.startReply(ctx, event)
	case *feed.FeedbackChanged:
		if event.Message.Seq > s.cursor {
			return nil // the message has not been written yet; it will include the feedback
		}
		return s.write(ctx, s.cached(event, func() [][]byte { return [][]byte{feedbackFrame(s.watch, event.Message)} })[0])
	case *feed.VisitExpiring:
		return s.write(ctx, s.cached(event, func() [][]byte { return [][]byte{expiringFrame(s.watch, event.At)} })[0])
	case *feed.VisitExpired:
		return errExpired
	case *feed.KeyEnded:
		if event.KeyID == s.caller.KeyID {
			return errExpired
		}
		return nil
	case *feed.ConversationDeleted:
		return errDeleted
	default: // feed.Behind
		return s.catchUp(ctx)
	}
}

// cached returns the frames of an event, which are encoded once for all sockets.
func (s *socket) cached(event feed.Event, encode func() [][]byte) [][]byte {
	return s.server.eventFrames.get(eventKey{event: event}, encode)
}

// catchUp reads the messages after the cursor from the database and writes them. If that fails, the
// socket is closed, because the client would miss messages.
func (s *socket) catchUp(ctx context.Context) error {
	for {
		var missed []db.Message
		var err error
		s.server.pool.block(func() { missed, err = s.watch.Since(ctx, s.cursor) })
		if err != nil {
			_ = s.write(ctx, errorFrame(s, err, "")) // the socket is closed either way
			return err
		}
		if len(missed) == 0 {
			return nil
		}
		for _, message := range missed {
			if err := s.closeReason(); err != nil {
				return err
			}
			if err := s.writeMessage(ctx, &message, messageFrames(s.watch, &message)); err != nil {
				return err
			}
		}
	}
}

// writeMessage writes the message that follows the cursor. The socket that sent the message receives
// a delivered frame instead. The reply's remaining deltas come before its message.
func (s *socket) writeMessage(ctx context.Context, message *db.Message, frames [][]byte) error {
	s.cursor = message.Seq
	if clientID, ok := s.takeUnacknowledged(message.ID); ok {
		return s.write(ctx, deliveredFrame(s, message.ID, message.Seq, clientID))
	}
	if s.reply != nil && message.RunID != nil && *message.RunID == s.reply.RunID && message.Sender == "bot" {
		if err := s.endReply(ctx); err != nil {
			return err
		}
	}
	for _, frame := range frames {
		if err := s.write(ctx, frame); err != nil {
			return err
		}
	}
	return nil
}

// writeResult writes the result of a client's frame. A message that was stored by an earlier request
// may be newer than the cursor. Then the missed messages come first, so that seq never goes backwards.
func (s *socket) writeResult(ctx context.Context, result frameResult) error {
	if result.err != nil {
		return s.write(ctx, errorFrame(s, result.err, result.clientID))
	}
	if result.replayed.Seq > s.cursor {
		if err := s.catchUp(ctx); err != nil {
			return err
		}
	}
	return s.write(ctx, deliveredFrame(s, result.replayed.MessageID, result.replayed.Seq, result.clientID))
}

// startReply starts following a reply: it writes that the bot is typing.
func (s *socket) startReply(ctx context.Context, event *feed.ReplyStarted) error {
	frames := s.server.eventFrames.get(eventKey{event, s.wantsDeltas}, func() [][]byte {
		if s.wantsDeltas {
			return typingFrames(s.watch.SessionID, &event.Reply.RunID)
		}
		return typingFrames(s.watch.SessionID, nil)
	})
	s.reply, s.position, s.typingEnd = event.Reply, event.Reply.Start(), frames[1]
	return s.write(ctx, frames[0])
}

// writeReply writes the progress of the reply and returns the channel that signals more of it.
//
// Usually the event of the reply's message ends the typing. writeReply ends it if no such event
// follows: the reply has no text, or the client already has the message.
func (s *socket) writeReply(ctx context.Context) (<-chan struct{}, error) {
	if s.reply == nil {
		return nil, nil
	}
	outcome, grown := s.reply.Outcome()
	if s.wantsDeltas {
		var err error
		if outcome, grown, err = s.writeDeltas(ctx); err != nil {
			return nil, err
		}
	}
	switch {
	case outcome == nil:
		return grown, nil
	case outcome.Content != "" && (outcome.Seq == 0 || outcome.Seq > s.cursor):
		return nil, nil
	}
	return nil, s.endReply(ctx)
}

// endReply writes the remaining deltas of the reply and that the bot has stopped typing.
func (s *socket) endReply(ctx context.Context) error {
	if s.wantsDeltas {
		if _, _, err := s.writeDeltas(ctx); err != nil {
			return err
		}
	}
	s.reply = nil
	return s.write(ctx, s.typingEnd)
}

// writeDeltas writes the deltas after the position. It returns the reply's outcome, nil while the
// reply is in progress, and the channel that signals more deltas.
func (s *socket) writeDeltas(ctx context.Context) (*reply.Outcome, <-chan struct{}, error) {
	for {
		from := s.position
		chunk, grown := s.reply.Next(from)
		s.position = chunk.After
		if chunk.Outcome != nil || chunk.IsEmpty() {
			return chunk.Outcome, grown, nil
		}
		frames := s.server.deltaFrames.get(deltaKey{s.reply, from, chunk.After}, func() [][]byte {
			return [][]byte{deltaFrame(s.watch.SessionID, s.reply.RunID, chunk.Delta, chunk.IsReset)}
		})
		if err := s.write(ctx, frames[0]); err != nil {
			return nil, nil, err
		}
	}
}
