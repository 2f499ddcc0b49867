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
	"parley/internal/feed"
	"parley/internal/jsontext"
)

// encode returns a frame as JSON. It cannot fail: frames are plain structs, and their raw JSON comes
// from the database.
func encode(frame any) []byte {
	data, err := json.Marshal(frame)
	if err != nil {
		panic(err)
	}
	return data
}

// messageFrame returns the frame of a message. It is the same for all sockets that watch the
// conversation.
func messageFrame(watch *feed.Watch, message *db.Message) []byte {
	frame := openapi.MessageFrame{
		Type:        openapi.MessageFrameTypeMessage,
		Sender:      openapi.Speaker(message.Sender),
		Content:     message.Content,
		Timestamp:   jsontext.FormatTime(message.CreatedAt),
		SessionID:   watch.SessionID,
		MessageID:   message.ID,
		Seq:         message.Seq,
		RunID:       message.RunID,
		Attachments: decodeList[openapi.Attachment](message.Attachments),
		Metadata:    message.Metadata,
		Citations:   decodeList[openapi.Citation](message.Citations),
	}
	if frame.Metadata == nil {
		frame.Metadata = json.RawMessage("{}")
	}
	if !watch.IsAnonymous {
		frame.ConversationID = &watch.SessionID
	}
	if message.Feedback != nil {
		frame.Feedback = toAPIFeedback(message)
	}
	return encode(frame)
}

func toAPIFeedback(message *db.Message) nullable.Nullable[openapi.Feedback] {
	if message.Feedback == nil {
		return nullable.NewNullNullable[openapi.Feedback]()
	}
	return nullable.NewNullableWithValue(openapi.Feedback(*message.Feedback))
}

// feedbackFrame returns the frame that reports the feedback of a message: like, dislike, or null.
func feedbackFrame(watch *feed.Watch, message *db.Message) []byte {
	return encode(openapi.StatusFrame{
		Type:      openapi.StatusFrameTypeStatus,
		SessionID: watch.SessionID,
		Status:    openapi.StatusFrameStatusFeedback,
		MessageID: &message.ID,
		Seq:       &message.Seq,
		Feedback:  toAPIFeedback(message),
	})
}

// decodeList decodes a column that holds a list. An empty column is an empty list.
func decodeList[T any](raw json.RawMessage) []T {
	list := []T{}
	if raw == nil {
		return list
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		panic(err) // only this program writes the column
	}
	return list
}

// messageFrames returns the frame of a message and, if it has suggestions, theirs.
func messageFrames(watch *feed.Watch, message *db.Message) [][]byte {
	frames := [][]byte{messageFrame(watch, message)}
	if message.Suggestions == nil {
		return frames
	}
	return append(frames, encode(openapi.SuggestionFrame{
		Type:        openapi.SuggestionFrameTypeSuggestion,
		SessionID:   watch.SessionID,
		Suggestions: decodeList[openapi.Suggestion](message.Suggestions),
	}))
}

// typingFrames returns the frames that report the start and the end of a reply. They have a run ID if
// run is not nil.
func typingFrames(session uuid.UUID, run *uuid.UUID) [][]byte {
	frame := openapi.TypingFrame{Type: openapi.TypingFrameTypeTyping, SessionID: session, RunID: run, IsTyping: true}
	start := encode(frame)
	frame.IsTyping = false
	return [][]byte{start, encode(frame)}
}

func deltaFrame(session, run uuid.UUID, delta string, isReset bool) []byte {
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

// expiringFrame returns the warning that the caller's key or token, or the visit, expires soon.
func expiringFrame(watch *feed.Watch, at time.Time) []byte {
	return encode(openapi.StatusFrame{
		Type:      openapi.StatusFrameTypeStatus,
		SessionID: watch.SessionID,
		Status:    openapi.StatusFrameStatusExpiring,
		ExpiresAt: nullable.NewNullableWithValue(jsontext.FormatTime(at)),
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
		Limits:    toAPILimits(s.server.Limits, s.maxFrame()),
	}
	if watch.ExpiresAt != nil {
		frame.ExpiresAt.Set(jsontext.FormatTime(*watch.ExpiresAt))
	}
	if !watch.IsAnonymous {
		frame.ConversationID = &watch.SessionID
	}
	return encode(frame)
}

// toAPILimits returns the limits that a client must respect to stay connected.
func toAPILimits(limits Limits, maxFrame int) *openapi.SocketLimits {
	apiLimits := openapi.SocketLimits{
		FrameBytes:   maxFrame,
		PingSeconds:  ceilSeconds(limits.PingInterval),
		PongSeconds:  ceilSeconds(limits.PongTimeout),
		WriteSeconds: ceilSeconds(limits.WriteTimeout),
	}
	if limits.IdleTimeout > 0 {
		apiLimits.IdleSeconds = new(ceilSeconds(limits.IdleTimeout))
	}
	return &apiLimits
}

func ceilSeconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

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

// errorFrame returns the frame of an error. An error that callers must not read is logged and reported
// as an internal error.
func errorFrame(s *socket, err error, clientID string) []byte {
	appErr, ok := errors.AsType[*apperr.Error](err)
	if !ok {
		s.server.Log.Error("process socket messages", "session_id", s.watch.SessionID, "err", err)
		appErr = apperr.WrapInternal(err)
	}
	frame := openapi.ErrorFrame{
		Type:      openapi.ErrorFrameTypeError,
		SessionID: s.watch.SessionID,
		Error:     openapi.ProblemCode(appErr.Kind),
		Detail:    appErr.Message,
	}
	if appErr.RetryAfter > 0 {
		frame.RetryAfter = new(ceilSeconds(appErr.RetryAfter))
	}
	if clientID != "" {
		frame.ClientMessageID = &clientID
	}
	return encode(frame)
}
