package wsapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"

	"parley/api"
	"parley/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func init() {
	// The library leaves it to its users what a uuid is.
	openapi3.DefineStringFormatValidator("uuid", openapi3.NewCallbackValidator(func(text string) error {
		id, err := uuid.Parse(text)
		if err == nil && id.String() != text {
			err = errors.New("not in plain text")
		}
		return err
	}))
}

// document is the contract: every frame and every problem is held against it.
var document = must(api.Load())

var (
	anyTime = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d`)
	ourTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)
)

// check holds a JSON text against a schema of the document, and its fields and times
// against what the document cannot say.
func check(schema string, data []byte) error {
	var value object
	if err := json.Unmarshal(data, &value); err != nil {
		return fmt.Errorf("%s: %w", data, err)
	}
	described := document.Components.Schemas[schema].Value
	if err := described.VisitJSON(value, openapi3.VisitAsResponse()); err != nil {
		return fmt.Errorf("%s: %w", data, err)
	}
	if described.Discriminator != nil {
		name := described.Discriminator.Mapping[value["type"].(string)].Ref
		described = document.Components.Schemas[name[len("#/components/schemas/"):]].Value
	}
	for name, field := range value {
		if described.Properties[name] == nil {
			return fmt.Errorf("%s: the document does not have %s", data, name)
		}
		if text, ok := field.(string); ok && name != "content" && anyTime.MatchString(text) && !ourTime.MatchString(text) {
			return fmt.Errorf("%s: the time of %s", data, name)
		}
	}
	return nil
}

// object is a JSON object.
type object = map[string]any

// frame is one that the server sends, of whichever type.
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

// isMessage tells whether the frame stands for a message: as it is, or as delivered.
func (f frame) isMessage() bool { return f.Type == "message" || f.isStatus("delivered") }

func (f frame) isReply() bool { return f.Type == "message" && f.Sender == "bot" }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
