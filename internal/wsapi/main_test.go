package wsapi_test

import (
	"encoding/json"
	"testing"

	"parley/internal/contracttest"
	"parley/internal/dbtest"
)

// TestMain fails the run if the OpenAPI document declares a frame or field that no test received.
func TestMain(m *testing.M) { dbtest.Main(m, contracttest.CheckFrameCoverage) }

// object is a JSON object.
type object = map[string]any

// frame is a server frame of any type.
type frame struct {
	Type            string
	Sender          string
	Content         string
	Timestamp       string
	SessionID       string `json:"session_id"`
	ConversationID  string `json:"conversation_id"`
	MessageID       string `json:"message_id"`
	Seq             int64
	RunID           string `json:"run_id"`
	Attachments     []object
	Metadata        object
	Citations       []object
	IsTyping        bool `json:"is_typing"`
	Delta           string
	Reset           bool
	Suggestions     []object
	Status          string
	Anonymous       *bool
	BotID           string `json:"bot_id"`
	Greeting        string
	ExpiresAt       json.RawMessage `json:"expires_at"`
	ClientMessageID string          `json:"client_message_id"`
	Error           string
	Detail          string
	Feedback        json.RawMessage
	RetryAfter      int `json:"retry_after"`
	Limits          map[string]int
}

func (f frame) isStatus(status string) bool { return f.Type == "status" && f.Status == status }

// isMessage reports whether the frame is a message or reports its delivery.
func (f frame) isMessage() bool { return f.Type == "message" || f.isStatus("delivered") }

func (f frame) isReply() bool { return f.Type == "message" && f.Sender == "bot" }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
