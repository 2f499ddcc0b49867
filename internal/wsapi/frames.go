package wsapi

import (
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/chat"
)

// timeFormat is how the contract writes times: always six fraction digits and Z.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// encode turns a frame into JSON; the frames hold nothing that could fail to.
func encode(frame any) []byte {
	data, err := json.Marshal(frame)
	if err != nil {
		panic(err) // plain structs, and JSON from the database
	}
	return data
}

// messageFrame is a message as all sockets that watch it get it.
func messageFrame(watch *chat.Watch, message *db.Message) []byte {
	frame := openapi.MessageFrame{
		Type:        openapi.MessageFrameTypeMessage,
		Sender:      openapi.Speaker(message.Sender),
		Content:     message.Content,
		Timestamp:   message.CreatedAt.UTC().Format(timeFormat),
		SessionID:   watch.SessionID,
		MessageID:   message.ID,
		Seq:         message.Seq,
		RunID:       message.RunID,
		Attachments: listOf[openapi.Attachment](message.Attachments),
		Metadata:    message.Metadata,
		Citations:   listOf[openapi.Citation](message.Citations),
	}
	if frame.Metadata == nil {
		frame.Metadata = json.RawMessage("{}")
	}
	if !watch.IsAnonymous {
		frame.ConversationID = &watch.SessionID
	}
	if message.Feedback != nil {
		frame.Feedback = feedbackOf(message)
	}
	return encode(frame)
}

func feedbackOf(message *db.Message) nullable.Nullable[openapi.Feedback] {
	if message.Feedback == nil {
		return nullable.NewNullNullable[openapi.Feedback]()
	}
	return nullable.NewNullableWithValue(openapi.Feedback(*message.Feedback))
}

// feedbackFrame tells that a message is liked, disliked, or neither any more.
func feedbackFrame(watch *chat.Watch, message *db.Message) []byte {
	return encode(openapi.StatusFrame{
		Type:      openapi.StatusFrameTypeStatus,
		SessionID: watch.SessionID,
		Status:    openapi.StatusFrameStatusFeedback,
		MessageID: &message.ID,
		Seq:       &message.Seq,
		Feedback:  feedbackOf(message),
	})
}

// listOf reads a column that holds a list, nil for an empty one.
func listOf[T any](raw json.RawMessage) []T {
	list := []T{}
	if raw == nil {
		return list
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		panic(err) // written by us
	}
	return list
}

// framesOf is what an event comes to, in the order in which it is written. For a reply
// that begins these are two pairs, the beginning and the end of the typing: as most
// clients get them, and for those who want the text.
func (s *socket) framesOf(event *chat.Event) [][]byte {
	switch {
	case event.Rated != nil:
		return [][]byte{feedbackFrame(s.watch, event.Rated)}
	case event.ExpiresAt != nil:
		return [][]byte{expiringFrame(s.watch, *event.ExpiresAt)}
	case event.Reply != nil:
		begin := openapi.TypingFrame{Type: openapi.TypingFrameTypeTyping, SessionID: s.watch.SessionID, IsTyping: true}
		end := begin
		end.IsTyping = false
		frames := [][]byte{encode(begin), encode(end)}
		begin.RunID, end.RunID = &event.Reply.RunID, &event.Reply.RunID
		return append(frames, encode(begin), encode(end))
	}
	return messageFrames(s.watch, event.Message)
}

// messageFrames is a message, and its suggestions where it has some.
func messageFrames(watch *chat.Watch, message *db.Message) [][]byte {
	frames := [][]byte{messageFrame(watch, message)}
	if message.Suggestions == nil {
		return frames
	}
	return append(frames, encode(openapi.SuggestionFrame{
		Type:        openapi.SuggestionFrameTypeSuggestion,
		SessionID:   watch.SessionID,
		Suggestions: listOf[openapi.Suggestion](message.Suggestions),
	}))
}

func growthFrame(session, run uuid.UUID, delta string, isReset bool) []byte {
	frame := openapi.TypingFrame{Type: openapi.TypingFrameTypeTyping, SessionID: session, IsTyping: true, RunID: &run}
	if delta != "" {
		frame.Delta = &delta
	}
	if isReset {
		frame.Reset = new(true)
	}
	return encode(frame)
}

func statusFrame(s *socket, status string) []byte {
	return encode(openapi.StatusFrame{
		Type:      openapi.StatusFrameTypeStatus,
		SessionID: s.watch.SessionID,
		Status:    openapi.StatusFrameStatus(status),
	})
}

// expiringFrame tells that the caller's key or token, or the visit, ends soon.
func expiringFrame(watch *chat.Watch, at time.Time) []byte {
	return encode(openapi.StatusFrame{
		Type:      openapi.StatusFrameTypeStatus,
		SessionID: watch.SessionID,
		Status:    openapi.StatusFrameStatusExpiring,
		ExpiresAt: nullable.NewNullableWithValue(at.UTC().Format(timeFormat)),
	})
}

func connectedFrame(s *socket) []byte {
	watch := s.watch
	frame := openapi.StatusFrame{
		Type:      openapi.StatusFrameTypeStatus,
		SessionID: watch.SessionID,
		Status:    openapi.StatusFrameStatusConnected,
		Anonymous: &watch.IsAnonymous,
		BotID:     &watch.Bot.ID,
		Greeting:  &watch.Bot.Greeting,
		ExpiresAt: nullable.NewNullNullable[string](),
	}
	frame.Limits = limitsOf(s.sockets.Limits)
	if watch.ExpiresAt != nil {
		frame.ExpiresAt.Set(watch.ExpiresAt.UTC().Format(timeFormat))
	}
	if !watch.IsAnonymous {
		frame.ConversationID = &watch.SessionID
	}
	return encode(frame)
}

// limitsOf tells a client what it may do without being cut off.
func limitsOf(limits Limits) *openapi.SocketLimits {
	seconds := func(of time.Duration) int { return int(math.Ceil(of.Seconds())) }
	told := openapi.SocketLimits{
		FrameBytes:   maxFrame,
		PingSeconds:  seconds(limits.PingInterval),
		PongSeconds:  seconds(limits.PingPatience),
		WriteSeconds: seconds(limits.WritePatience),
	}
	if limits.IdleTime > 0 {
		told.IdleSeconds = new(seconds(limits.IdleTime))
	}
	return &told
}

func deliveredFrame(s *socket, message uuid.UUID, seq int64, clientID string) []byte {
	frame := openapi.StatusFrame{
		Type:      openapi.StatusFrameTypeStatus,
		SessionID: s.watch.SessionID,
		Status:    openapi.StatusFrameStatusDelivered,
		MessageID: &message,
		Seq:       &seq,
	}
	if clientID != "" {
		frame.ClientMessageID = &clientID
	}
	return encode(frame)
}

// errorFrame tells a fault; any other error is internal, and only logged.
func errorFrame(s *socket, err error, clientID string) []byte {
	told, ok := errors.AsType[*apperr.Error](err)
	if !ok {
		s.sockets.Log.Error("a frame failed", "session_id", s.watch.SessionID, "error", err)
		told = apperr.New(apperr.Internal, "The server made a mistake. It has been noted.")
	}
	frame := openapi.ErrorFrame{
		Type:      openapi.ErrorFrameTypeError,
		SessionID: s.watch.SessionID,
		Error:     openapi.ProblemCode(told.Kind),
		Detail:    told.Message,
	}
	if told.RetryAfter > 0 {
		frame.RetryAfter = new(int(math.Ceil(float64(told.RetryAfter) / float64(time.Second))))
	}
	if clientID != "" {
		frame.ClientMessageID = &clientID
	}
	return encode(frame)
}
