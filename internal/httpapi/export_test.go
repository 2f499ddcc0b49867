package httpapi

import (
	"net/http"
	"net/http/httptest"
	"time"

	"parley/internal/chat"
)

// IsSane is shown to the tests of the parsers.
var IsSane = isSane

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

// deadlines is a recorder that takes deadlines.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetWriteDeadline(time.Time) error { return nil }

// What writes JSON by hand is shown to the tests that hold it against encoding/json.
var (
	AppendString  = appendString
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
