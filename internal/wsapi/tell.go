package wsapi

import (
	"context"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/chat"
)

// telling is how far a socket's client has been told; it is the writer's alone.
type telling struct {
	isGreeted bool
	cursor    int64       // the seq that the client has come to
	following *chat.Reply // the reply that is being written
	at        chat.Position
	endTyping []byte // the frame that tells the end of the reply
}

// writeAll writes all that there is. While a reply is being written it returns what
// tells of more of it.
func (s *socket) writeAll(ctx context.Context) (<-chan struct{}, error) {
	if !s.isGreeted {
		s.isGreeted = true
		if err := s.greet(ctx); err != nil {
			return nil, err
		}
	}
	for {
		if why := s.ending(); why != nil {
			return nil, why
		}
		if s.isEnding.CompareAndSwap(true, false) {
			if err := s.send(ctx, expiringFrame(s.watch, *s.watch.ExpiresAt)); err != nil {
				return nil, err
			}
		}
		grown, err := s.writeGrowth(ctx)
		if err != nil {
			return nil, err
		}
		if isThere, err := s.writeNext(ctx); !isThere || err != nil {
			return grown, err
		}
	}
}

// writeNext writes the next thing that waits. (One channel after the other: a select of
// several costs a tenth of a delivery.)
func (s *socket) writeNext(ctx context.Context) (isThere bool, err error) {
	select {
	case event := <-s.watch.Events:
		return true, s.tell(ctx, event)
	default:
	}
	select {
	case <-s.watch.Missed:
		return true, s.catchUp(ctx)
	default:
	}
	select {
	case result := <-s.answers:
		return true, s.answer(ctx, result)
	default:
	}
	return false, nil
}

// greet tells the client where it is, and what it has missed.
func (s *socket) greet(ctx context.Context) error {
	if err := s.send(ctx, connectedFrame(s)); err != nil {
		return err
	}
	s.watch.Bot = db.Bot{} // nobody asks for it any more, and it may be large
	if s.cursor > s.watch.LastSeq {
		ahead := apperr.New(apperr.InvalidRequest, "There is no such seq yet; after is taken as the newest.")
		s.cursor = s.watch.LastSeq
		if err := s.send(ctx, errorFrame(s, ahead, "")); err != nil {
			return err
		}
	}
	if s.cursor == s.watch.LastSeq {
		return nil // what comes after that comes as events, each reply's beginning before its message
	}
	return s.catchUp(ctx)
}

// tell passes an event on.
func (s *socket) tell(ctx context.Context, event *chat.Event) error {
	switch {
	case event.IsExpired, event.EndedKey != uuid.Nil && event.EndedKey == s.who.KeyID:
		return errExpired
	case event.EndedKey != uuid.Nil:
		return nil
	case event.IsGone:
		return errGone
	case event.ExpiresAt != nil:
		return s.send(ctx, event.Encoded(s.framesOf)[0])
	case event.Reply != nil:
		return s.follow(ctx, event)
	case event.Rated != nil:
		// A message that the client has yet to get brings its feedback along.
		if event.Rated.Seq > s.cursor {
			return nil
		}
		return s.send(ctx, event.Encoded(s.framesOf)[0])
	case event.Message == nil:
		return s.catchUp(ctx)
	case event.Message.Seq <= s.cursor:
		return nil
	case event.Message.Seq > s.cursor+1:
		return s.catchUp(ctx)
	}
	return s.writeMessage(ctx, event.Message, event.Encoded(s.framesOf))
}

// catchUp writes what was committed beyond the cursor, until there is no more. Where
// that cannot be read the socket ends, for it would have a gap.
func (s *socket) catchUp(ctx context.Context) error {
	for {
		var missed []db.Message
		var err error
		s.sockets.crew.wait(func() { missed, err = s.watch.Since(ctx, s.cursor) })
		if err != nil {
			_ = s.send(ctx, errorFrame(s, err, "")) // the socket ends anyhow
			return err
		}
		if len(missed) == 0 {
			return nil
		}
		for _, message := range missed {
			if why := s.ending(); why != nil {
				return why
			}
			if err := s.writeMessage(ctx, &message, messageFrames(s.watch, &message)); err != nil {
				return err
			}
		}
	}
}

// writeMessage writes the next message: as `delivered` to who sent it, else as its
// frames are, after what is left of the reply's growth.
func (s *socket) writeMessage(ctx context.Context, message *db.Message, frames [][]byte) error {
	s.cursor = message.Seq
	if clientID, isOwn := s.takeOwn(message.ID); isOwn {
		return s.send(ctx, deliveredFrame(s, message.ID, message.Seq, clientID))
	}
	if s.following != nil && message.RunID != nil && *message.RunID == s.following.RunID && message.Sender == "bot" {
		if err := s.writeEnd(ctx); err != nil {
			return err
		}
	}
	for _, frame := range frames {
		if err := s.send(ctx, frame); err != nil {
			return err
		}
	}
	return nil
}

// answer writes what came of a client's frame. What had been stored elsewhere may not have
// been told here yet; it is before it is delivered, so that no seq passes what the client has.
func (s *socket) answer(ctx context.Context, result incoming) error {
	if result.err != nil {
		return s.send(ctx, errorFrame(s, result.err, result.clientID))
	}
	if result.replayed.Seq > s.cursor {
		if err := s.catchUp(ctx); err != nil {
			return err
		}
	}
	return s.send(ctx, deliveredFrame(s, result.replayed.MessageID, result.replayed.Seq, result.clientID))
}

// follow begins to tell of a reply: that it is being written, and, to a client that
// wants it, its text.
func (s *socket) follow(ctx context.Context, event *chat.Event) error {
	frames := event.Encoded(s.framesOf)
	if s.streams {
		frames = frames[2:]
	}
	s.following, s.at, s.endTyping = event.Reply, event.Reply.Beginning(), frames[1]
	return s.send(ctx, frames[0])
}

// writeGrowth writes how the reply has grown, and returns what tells of more. Of a reply
// that has ended without a text, or whose message the client has already, no message
// comes that would end the typing.
func (s *socket) writeGrowth(ctx context.Context) (<-chan struct{}, error) {
	if s.following == nil {
		return nil, nil
	}
	outcome, grown := s.following.Ended()
	if s.streams {
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
	return nil, s.writeEnd(ctx)
}

// writeEnd writes what is left of the reply's text, and that nobody writes any more.
func (s *socket) writeEnd(ctx context.Context) error {
	if s.streams {
		if _, _, err := s.writeDeltas(ctx); err != nil {
			return err
		}
	}
	s.following = nil
	return s.send(ctx, s.endTyping)
}

// writeDeltas writes the deltas that there are.
func (s *socket) writeDeltas(ctx context.Context) (*chat.Outcome, <-chan struct{}, error) {
	for {
		from := s.at
		delta, after, isReset, outcome, grown := s.following.Next(from)
		s.at = after
		if outcome != nil || delta == "" && !isReset {
			return outcome, grown, nil
		}
		frame := s.following.Encoded(from, after, func() []byte {
			return growthFrame(s.watch.SessionID, s.following.RunID, delta, isReset)
		})
		if err := s.send(ctx, frame); err != nil {
			return nil, nil, err
		}
	}
}
