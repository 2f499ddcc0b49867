package client

import (
	"encoding/json"
	"fmt"

	"github.com/coder/websocket"

	api "parley/gen/client"
)

// Frame is what a server sends on a WebSocket: a *MessageFrame, *TypingFrame, *SuggestionFrame,
// *StatusFrame or *ErrorFrame.
type Frame interface{ isFrame() }

type (
	// MessageFrame is a message of the conversation.
	MessageFrame struct{ api.MessageFrame }
	// TypingFrame reports whether the bot is writing, and carries the growing reply if the socket
	// asked for it.
	TypingFrame struct{ api.TypingFrame }
	// SuggestionFrame suggests what the user might say next. It follows its message.
	SuggestionFrame struct{ api.SuggestionFrame }
	// StatusFrame reports an event of the socket or of a message; see the Status constants.
	StatusFrame struct{ api.StatusFrame }
	// ErrorFrame reports that the server refused a frame.
	ErrorFrame struct{ api.ErrorFrame }
)

func (*MessageFrame) isFrame()    {}
func (*TypingFrame) isFrame()     {}
func (*SuggestionFrame) isFrame() {}
func (*StatusFrame) isFrame()     {}
func (*ErrorFrame) isFrame()      {}

// The values of StatusFrame.Status.
const (
	StatusConnected = api.StatusFrameStatusConnected // the first frame of every connection
	StatusDelivered = api.StatusFrameStatusDelivered // a message sent over this socket is stored
	StatusFeedback  = api.StatusFrameStatusFeedback  // the user's feedback on a message changed
	StatusExpiring  = api.StatusFrameStatusExpiring  // the key, the token or the visit ends in a minute
	StatusExpired   = api.StatusFrameStatusExpired   // the key, the token or the visit has ended; the server closes the connection
	StatusIdle      = api.StatusFrameStatusIdle      // the server closes an idle connection
	StatusClosing   = api.StatusFrameStatusClosing   // the server is shutting down
)

// decodeFrame returns the frame that a WebSocket message holds.
func decodeFrame(kind websocket.MessageType, data []byte) (Frame, error) {
	var head struct{ Type string }
	if err := json.Unmarshal(data, &head); err != nil || kind != websocket.MessageText {
		return nil, fmt.Errorf("a frame is not a JSON object: %.200s", data)
	}
	var frame Frame
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
		return nil, fmt.Errorf("a frame has the unknown type %q", head.Type)
	}
	if err := json.Unmarshal(data, frame); err != nil {
		return nil, fmt.Errorf("decode a %s frame: %w", head.Type, err)
	}
	return frame, nil
}
