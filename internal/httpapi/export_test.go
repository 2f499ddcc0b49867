package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/oapi-codegen/nullable"

	"parley/gen/openapi"
	"parley/internal/chat"
)

// IsSane is shown to the tests of the parsers.
var IsSane = isSane

// RereadEventID reads the id of an event and writes it again.
func RereadEventID(text string) (again string, err error) {
	at, err := fromAPIEventID(&text)
	return strings.TrimSuffix(strings.TrimPrefix(id(at), "id: "), "\n"), err
}

// RereadTime reads a time of the query and writes it as an answer has it.
func RereadTime(text string) (again string, at time.Time, err error) {
	read, err := fromAPITime("since", text)
	if err != nil {
		return "", at, err
	}
	return stamp(*read), *read, nil
}

// Attachment is the header for a file of that name.
func Attachment(name string) string { return attachment(name, name) }

// AppendRecord and ToAPIRecord are shown to the test that the one writes what the other is.
var (
	AppendRecord = appendRecord
	ToAPIRecord  = toAPIRecord
)

// HeardAnew is the stream in OpenAI's form of a reply that begins anew, delta by delta, after the text before.
func HeardAnew(before string, anew ...string) (stream string, err error) {
	w := httptest.NewRecorder()
	events := &chatEvents{eventWriter: eventWriter{w: w, controller: http.NewResponseController(deadlines{w})}}
	events.answer.reply = &chat.Reply{}
	err = events.delta(chat.Position{}, before, false)
	for i, text := range anew {
		if err == nil {
			err = events.delta(chat.Position{}, text, i == 0)
		}
	}
	if err == nil {
		err = events.last(chat.Position{}, &chat.Outcome{FinishReason: "stop"})
	}
	return w.Body.String(), err
}

// Grown is the stream of a reply that grows by a text, in the form of the Chatbots family, and the event as the
// generated type has it.
func Grown(text string) (stream, want string, err error) {
	w := httptest.NewRecorder()
	events, err := newCompletionEvents(deadlines{w}, &chat.Reply{RunID: uuid.New(), ConversationID: uuid.New(), MessageID: uuid.New()})
	if err != nil {
		return "", "", err
	}
	event := events.event()
	event.Content = text
	encoded, err := json.Marshal(event)
	err = errors.Join(err, events.delta(chat.Position{Attempt: 3, Offset: 1234567}, text, false))
	return w.Body.String(), "id: 3.1234567\ndata: " + string(encoded) + "\n\n", err
}

// GrownChat is the same in OpenAI's form.
func GrownChat(text, model string) (stream, want string, err error) {
	w := httptest.NewRecorder()
	events := &chatEvents{eventWriter: beginEvents(deadlines{w}), answer: chatAnswer{reply: &chat.Reply{RunID: uuid.New()}, model: model}}
	encoded, err := json.Marshal(events.toAPIChunk(openapi.ChatDelta{Content: &text}, nullable.NewNullNullable[string]()))
	err = errors.Join(err, events.delta(chat.Position{}, text, false))
	return w.Body.String(), "data: " + string(encoded) + "\n\n", err
}

// deadlines is a recorder that takes deadlines.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetWriteDeadline(time.Time) error { return nil }

// What writes JSON by hand is shown to the tests that hold it against encoding/json.
var (
	AppendString  = appendString[[]byte]
	AppendCompact = appendCompact
	AppendStamp   = appendStamp
)

// AppendHistory writes a page of the history, messages as PostgreSQL sends them, newest first.
func AppendHistory(w http.ResponseWriter, messages []chat.StoredMessage) error {
	history := newHistory()
	for _, message := range messages {
		if err := history.add(message); err != nil {
			return err
		}
	}
	return history.VisitGetHistoryResponse(w)
}
