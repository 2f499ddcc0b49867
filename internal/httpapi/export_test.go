package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/google/uuid"

	"parley/internal/chat"
	"parley/internal/jsontext"
	"parley/internal/reply"
)

// RereadEventID decodes an event ID and encodes it again.
func RereadEventID(text string) (again string, err error) {
	at, err := fromAPIEventID(&text)
	return strings.TrimSuffix(strings.TrimPrefix(idLine(at), "id: "), "\n"), err
}

// RereadTime parses a time of the query and formats it as in responses.
func RereadTime(text string) (again string, at time.Time, err error) {
	read, err := fromAPITime("since", &text)
	if err != nil {
		return "", at, err
	}
	return jsontext.FormatTime(*read), *read, nil
}

// ToAPIRecord is compared with recordfile.AppendLine.
var ToAPIRecord = toAPIRecord

// CompletionDelta returns a delta as it is streamed, and as encoding/json encodes the generated type.
func CompletionDelta(text string) (stream, want string, err error) {
	w := httptest.NewRecorder()
	events, err := newCompletionEvents(deadlines{w}, &reply.Reply{RunID: uuid.New(), ConversationID: uuid.New(), MessageID: uuid.New()})
	if err != nil {
		return "", "", err
	}
	event := events.event()
	event.Content = text
	encoded, err := json.Marshal(event)
	err = errors.Join(err, events.Delta(reply.Position{Attempt: 3, Offset: 1234567}, text, false))
	return w.Body.String(), "id: 3.1234567\ndata: " + string(encoded) + "\n\n", err
}

// deadlines is a recorder that accepts write deadlines.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetWriteDeadline(time.Time) error { return nil }

// WriteHistory writes a page of the history. The messages are newest first, as PostgreSQL returns them.
func WriteHistory(w http.ResponseWriter, messages []chat.StoredMessage) error {
	page := newHistoryPage()
	for _, message := range messages {
		if err := page.add(message); err != nil {
			return err
		}
	}
	return page.VisitGetHistoryResponse(w)
}
