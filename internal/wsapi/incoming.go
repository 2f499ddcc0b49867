package wsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/chat"
	"parley/internal/jsontext"
	"parley/internal/store"
)

// What the document allows a frame's fields to have.
const (
	maxContent     = 32768 // characters
	maxClientID    = 255
	maxAttachments = 50
	maxFilename    = 255
	maxFile        = 2048
)

// incoming is what came of a frame: an error, or a message that had been stored
// before.
type incoming struct {
	clientID string
	err      error
	replayed *chat.Sent
}

// read takes frames until the socket is closed. A message is sent before the next frame
// is read, so a client's messages keep their order.
func (s *socket) read(ctx context.Context) error {
	for {
		kind, data, err := s.conn.Read(ctx)
		if err != nil {
			if errors.Is(err, websocket.ErrMessageTooBig) {
				return apperr.Wrap(apperr.TooLarge, "A frame may have 64 KiB.", err)
			}
			return err
		}
		s.note()
		result, isTold := s.take(ctx, kind, data)
		if result.err != nil {
			s.sockets.refused.Add(1)
		}
		if !isTold {
			continue
		}
		select {
		case s.answers <- result:
			s.wake()
		case <-s.over:
			return net.ErrClosed
		}
	}
}

// take does what a frame asks. A message that is stored is told by its event.
func (s *socket) take(ctx context.Context, kind websocket.MessageType, data []byte) (incoming, bool) {
	frame, err := s.parse(kind, data)
	clientID := ""
	if frame.ClientMessageID != nil {
		clientID = *frame.ClientMessageID
	}
	if err == nil {
		err = s.limit(ctx)
	}
	if err != nil {
		return incoming{clientID: clientID, err: err}, true
	}
	message := chat.NewMessage{ID: uuid.Must(uuid.NewV7()), Content: frame.Content}
	if frame.Metadata != nil {
		message.Metadata = *frame.Metadata
	}
	if frame.Attachments != nil {
		message.Attachments = attachmentsOf(*frame.Attachments)
	}
	if clientID != "" {
		message.IdempotencyKey = &store.IdempotencyKey{OrganizationID: s.who.OrganizationID, UserID: s.who.UserID, Scope: "WS " + s.watch.SessionID.String(), Key: clientID, Hash: []byte{}}
	}
	s.addOwn(message.ID, clientID)
	sent, err := s.say(ctx, message)
	switch {
	case err != nil:
		s.takeOwn(message.ID)
		return incoming{clientID: clientID, err: err}, true
	case sent.IsReplayed:
		s.takeOwn(message.ID)
		return incoming{clientID: clientID, replayed: &sent}, true
	}
	return incoming{}, false
}

// say has a message stored.
func (s *socket) say(ctx context.Context, message chat.NewMessage) (chat.Sent, error) {
	ctx, span := s.sockets.Traces.StartServer(ctx, "socket message", nil)
	defer span.End()
	span.SetID("parley.organization.id", s.who.OrganizationID)
	span.SetID("parley.conversation.id", s.watch.SessionID)
	sent, err := s.watch.Send(ctx, message)
	if err != nil {
		span.Fail(string(apperr.KindOf(err)))
	}
	return sent, err
}

// limit counts a message: of the user's, or of the visitor's address.
func (s *socket) limit(ctx context.Context) error {
	caller := s.who.UserID.String()
	if s.who.IsAnonymous() {
		caller = "visitor " + s.address
	}
	_, err := s.sockets.Limiter.Take(ctx, "messages", caller)
	return err
}

// parse reads a frame and holds it against what the document says of it.
func (s *socket) parse(kind websocket.MessageType, data []byte) (openapi.ClientMessageFrame, error) {
	if kind != websocket.MessageText {
		return openapi.ClientMessageFrame{}, apperr.New(apperr.InvalidRequest, "A frame must be text.")
	}
	var frame openapi.ClientMessageFrame
	data, err := jsontext.Clean(data)
	if err == nil {
		err = json.Unmarshal(data, &frame)
	}
	if err != nil {
		return frame, mistake(err)
	}
	switch {
	case frame.Type != openapi.ClientMessageFrameTypeMessage:
		return frame, apperr.New(apperr.InvalidRequest, "The type of a client's frame must be message.")
	case frame.SessionID != nil && *frame.SessionID != "" && !strings.EqualFold(*frame.SessionID, s.watch.SessionID.String()):
		return frame, apperr.New(apperr.InvalidRequest, "This socket watches another session.")
	case utf8.RuneCountInString(frame.Content) > maxContent:
		return frame, apperr.New(apperr.TooLarge, "A message may have 32,768 characters.")
	case frame.ClientMessageID != nil && (*frame.ClientMessageID == "" || utf8.RuneCountInString(*frame.ClientMessageID) > maxClientID):
		return frame, apperr.New(apperr.InvalidMessage, "A client_message_id has 1 to 255 characters.")
	case frame.Metadata != nil && !isObject(*frame.Metadata):
		return frame, apperr.New(apperr.InvalidMessage, "The metadata must be a JSON object.")
	case frame.Attachments != nil:
		return frame, checkAttachments(*frame.Attachments)
	}
	return frame, nil
}

// mistake tells what is wrong with a frame that could not be read: in the message's
// own fields, or in the frame.
func mistake(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" && wrong.Field != "type" && wrong.Field != "session_id" {
		return apperr.Field(apperr.InvalidMessage, "/"+strings.ReplaceAll(wrong.Field, ".", "/"), "is of the wrong type")
	}
	told, ok := errors.AsType[*apperr.Error](err)
	switch {
	case ok && len(told.Violations) == 0:
		return told
	case ok && told.Violations[0].Pointer != "":
		return apperr.Field(apperr.InvalidMessage, told.Violations[0].Pointer, told.Violations[0].Detail)
	}
	return apperr.Wrap(apperr.InvalidRequest, "A frame must be one JSON object of the form that is described for clients.", err)
}

func isObject(raw json.RawMessage) bool {
	return bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{"))
}

func checkAttachments(inputs []openapi.AttachmentInput) error {
	if len(inputs) > maxAttachments {
		return apperr.New(apperr.InvalidMessage, "A message may have 50 attachments.")
	}
	for _, one := range inputs {
		switch {
		case one.Type != nil && !one.Type.Valid():
			return apperr.New(apperr.InvalidMessage, "The type of an attachment must be image, video, audio, sticker or other.")
		case one.Filename != nil && utf8.RuneCountInString(*one.Filename) > maxFilename:
			return apperr.New(apperr.InvalidMessage, "The filename of an attachment may have 255 characters.")
		case one.File != nil && utf8.RuneCountInString(*one.File) > maxFile:
			return apperr.New(apperr.InvalidMessage, "The file of an attachment may have 2,048 characters.")
		}
	}
	return nil
}

func attachmentsOf(inputs []openapi.AttachmentInput) []chat.NewAttachment {
	attachments := make([]chat.NewAttachment, len(inputs))
	for i, one := range inputs {
		if one.ID != nil {
			attachments[i].ID = *one.ID
		}
		if one.Type != nil {
			attachments[i].Type = string(*one.Type)
		}
		if one.Filename != nil {
			attachments[i].Filename = *one.Filename
		}
		if one.File != nil {
			attachments[i].File = *one.File
		}
	}
	return attachments
}
