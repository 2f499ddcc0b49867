package wsapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/coder/websocket"

	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/chat"
	"parley/internal/jsontext"
	"parley/internal/ratelimit"
	"parley/internal/shape"
	"parley/internal/store"
)

// The limits of a frame's fields, as the OpenAPI document states them.
const (
	maxContent     = 100_000 // characters
	maxClientID    = 255
	maxAttachments = 50
	maxFilename    = 255
	maxFile        = 2048
)

// frameResult is the result of a client's frame that the reader passes to the writer: an error, or a
// message that an earlier frame with the same client_message_id has stored. It is empty for a message
// that was stored now, because the event of the message acknowledges it.
type frameResult struct {
	clientID string
	err      error
	replayed *chat.Sent
}

func (r frameResult) isEmpty() bool { return r.err == nil && r.replayed == nil }

// readFrames handles frames until the connection fails or is closed, and returns the reason. A message is stored
// before the next frame is read, so the messages of a client keep their order.
func (s *socket) readFrames(ctx context.Context) error {
	for {
		read, err := s.readFrame(ctx)
		if err != nil {
			if errors.Is(err, websocket.ErrMessageTooBig) {
				return apperr.Wrap(apperr.TooLarge, "The frame is too large.", err)
			}
			return err
		}
		s.touch()
		result := s.handleFrame(ctx, read)
		if result.err != nil {
			s.server.refused.Add(1)
		}
		if result.isEmpty() {
			continue
		}
		select {
		case s.results <- result:
			s.wake()
		case <-s.closed:
			return net.ErrClosed
		}
	}
}

// handleFrame stores the message of a frame.
func (s *socket) handleFrame(ctx context.Context, read rawFrame) frameResult {
	if read.isTooLarge {
		return frameResult{clientID: read.clientID(), err: apperr.New(apperr.TooLarge, fmt.Sprintf("A frame can have at most %d KiB.", s.maxFrame()>>10))}
	}
	frame, err := s.parseFrame(read.kind, read.data)
	clientID := ""
	if frame.ClientMessageID != nil {
		clientID = *frame.ClientMessageID
	}
	if err == nil {
		err = s.checkRateLimit(ctx)
	}
	if err != nil {
		return frameResult{clientID: clientID, err: err}
	}
	message := chat.NewMessage{ID: store.NewID(), Content: frame.Content}
	if frame.Metadata != nil {
		message.Metadata = *frame.Metadata
	}
	if frame.Attachments != nil {
		message.Attachments = fromAPIAttachments(*frame.Attachments)
	}
	if clientID != "" {
		message.IdempotencyKey = &store.IdempotencyKey{
			OrganizationID: s.caller.OrganizationID,
			UserID:         s.caller.UserID,
			Scope:          "WS " + s.watch.SessionID.String(),
			Key:            clientID,
			Hash:           hashFrame(frame),
		}
	}
	s.addUnacknowledged(message.ID, clientID) // before sending, because the writer may see the event immediately
	sent, err := s.send(ctx, message)
	switch {
	case err != nil:
		s.takeUnacknowledged(message.ID)
		return frameResult{clientID: clientID, err: apperr.Rephrase(err, apperr.Unprocessable, "The client_message_id was used for a message with other content.")}
	case sent.IsReplayed:
		s.takeUnacknowledged(message.ID)
		return frameResult{clientID: clientID, replayed: &sent}
	}
	return frameResult{}
}

// hashFrame returns a hash of the content of a frame's message. Equal JSON values have the same hash.
func hashFrame(frame openapi.ClientMessageFrame) []byte {
	var said struct {
		Content     string
		Attachments []openapi.AttachmentInput
		Metadata    any
	}
	said.Content = frame.Content
	if frame.Attachments != nil {
		said.Attachments = append(said.Attachments, *frame.Attachments...) // an empty list like none
	}
	var err error
	if frame.Metadata != nil {
		decoder := json.NewDecoder(bytes.NewReader(*frame.Metadata))
		decoder.UseNumber() // numbers can exceed float64
		err = decoder.Decode(&said.Metadata)
	}
	data, encodeErr := json.Marshal(said)
	if err := errors.Join(err, encodeErr); err != nil {
		panic(err) // cannot happen: the frame was decoded from valid JSON
	}
	hash := sha256.Sum256(data)
	return hash[:]
}

// send stores a message within a trace span.
func (s *socket) send(ctx context.Context, message chat.NewMessage) (chat.Sent, error) {
	ctx, span := s.server.Traces.StartServer(ctx, "socket message", nil)
	defer span.End()
	span.SetID("parley.organization.id", s.caller.OrganizationID)
	span.SetID("parley.conversation.id", s.watch.SessionID)
	sent, err := s.store(ctx, message)
	if err != nil {
		span.Fail(string(apperr.KindOf(err)))
	}
	return sent, err
}

// checkRateLimit counts a message in the same way as the API, or by the IP address of a visitor.
func (s *socket) checkRateLimit(ctx context.Context) error {
	caller := ratelimit.Caller{Limits: ratelimit.Limits{Messages: s.caller.RateLimits.Messages}}
	if caller.ID, caller.Within = s.caller.RateHolder(); s.caller.IsAnonymous() {
		caller = ratelimit.By("visitor " + s.address)
	}
	_, err := s.server.Limiter.Take(ctx, "messages", caller)
	return err
}

// messageShape returns the shape of the frames that clients send.
var messageShape = sync.OnceValue(func() *shape.Shape {
	document, err := shape.Document()
	if err != nil {
		panic(err) // cannot happen: the server has loaded the document before
	}
	return shape.Compile(document.Components.Schemas["ClientMessageFrame"].Value)
})

// parseFrame decodes and validates a frame.
func (s *socket) parseFrame(kind websocket.MessageType, data []byte) (openapi.ClientMessageFrame, error) {
	if kind != websocket.MessageText {
		return openapi.ClientMessageFrame{}, apperr.New(apperr.InvalidRequest, "A frame must be text.")
	}
	var frame openapi.ClientMessageFrame
	data, err := jsontext.Clean(data)
	if err == nil {
		data, _ = messageShape().Normalize(data)
		err = json.Unmarshal(data, &frame)
	}
	if err != nil {
		return frame, decodeError(err)
	}
	switch {
	case frame.Type != openapi.ClientMessageFrameTypeMessage:
		return frame, apperr.New(apperr.InvalidRequest, "The type of a frame must be message.")
	case frame.SessionID != nil && *frame.SessionID != "" && !strings.EqualFold(*frame.SessionID, s.watch.SessionID.String()):
		return frame, apperr.New(apperr.InvalidRequest, "The session_id must be the session of this socket, or be left out.")
	case utf8.RuneCountInString(frame.Content) > maxContent:
		return frame, apperr.New(apperr.TooLarge, "A message can have at most 100,000 characters.")
	case frame.ClientMessageID != nil && (*frame.ClientMessageID == "" || utf8.RuneCountInString(*frame.ClientMessageID) > maxClientID):
		return frame, apperr.New(apperr.InvalidMessage, "A client_message_id must have 1 to 255 characters.")
	case frame.Metadata != nil && !isObject(*frame.Metadata):
		return frame, apperr.New(apperr.InvalidMessage, "The metadata must be a JSON object.")
	case frame.Attachments != nil:
		return frame, validateAttachments(*frame.Attachments)
	}
	return frame, nil
}

// decodeError converts an error of decoding a frame. It names the field if the message is invalid, and otherwise
// describes the required form of a frame.
func decodeError(err error) error {
	if typeErr, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && typeErr.Field != "" && typeErr.Field != "type" && typeErr.Field != "session_id" {
		return apperr.Field(apperr.InvalidMessage, "/"+strings.ReplaceAll(typeErr.Field, ".", "/"), "has the wrong type")
	}
	appErr, ok := errors.AsType[*apperr.Error](err)
	switch {
	case ok && len(appErr.Violations) == 0:
		return appErr
	case ok && appErr.Violations[0].Pointer != "":
		return apperr.Field(apperr.InvalidMessage, appErr.Violations[0].Pointer, appErr.Violations[0].Detail)
	}
	return apperr.Wrap(apperr.InvalidRequest, "A frame must be a JSON object that matches the schema ClientMessageFrame.", err)
}

func isObject(raw json.RawMessage) bool {
	return bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{"))
}

func validateAttachments(inputs []openapi.AttachmentInput) error {
	if len(inputs) > maxAttachments {
		return apperr.New(apperr.InvalidMessage, "A message can have at most 50 attachments.")
	}
	for _, input := range inputs {
		switch {
		case input.Type != nil && !input.Type.Valid():
			return apperr.New(apperr.InvalidMessage, "The type of an attachment must be image, video, audio, sticker or other.")
		case input.Filename != nil && utf8.RuneCountInString(*input.Filename) > maxFilename:
			return apperr.New(apperr.InvalidMessage, "The filename of an attachment can have at most 255 characters.")
		case input.File != nil && utf8.RuneCountInString(*input.File) > maxFile:
			return apperr.New(apperr.InvalidMessage, "The file of an attachment can have at most 2,048 characters.")
		}
	}
	return nil
}

func fromAPIAttachments(inputs []openapi.AttachmentInput) []chat.NewAttachment {
	attachments := make([]chat.NewAttachment, len(inputs))
	for i, input := range inputs {
		if input.ID != nil {
			attachments[i].ID = *input.ID
		}
		if input.Type != nil {
			attachments[i].Type = string(*input.Type)
		}
		if input.Filename != nil {
			attachments[i].Filename = *input.Filename
		}
		if input.File != nil {
			attachments[i].File = *input.File
		}
	}
	return attachments
}
