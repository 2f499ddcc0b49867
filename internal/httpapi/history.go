package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
)

// storedHistory is a History written as JSON straight from its rows, byte for byte what
// encoding/json makes of the generated type. It is made by the handler, and good until
// its one Visit.
type storedHistory struct {
	// messages are those that were read, one after the other, and ends where each ends.
	messages []byte
	ends     []int
	// isForward tells that they were read in the order in which they are shown.
	isForward, hasMore bool
	body               []byte
}

// histories keeps what was written in, since a page is large and read often.
var histories = sync.Pool{New: func() any { return new(storedHistory) }}

// maxKept is how large, in bytes, a page may be to be written in again.
const maxKept = 1 << 20

func newHistory() *storedHistory {
	h := histories.Get().(*storedHistory)
	h.messages, h.ends, h.body = h.messages[:0], h.ends[:0], h.body[:0]
	return h
}

// storedHistory reads a page of the history.
func (a *API) storedHistory(ctx context.Context, id string, wanted chat.Range) (openapi.GetHistoryResponseObject, error) {
	history := newHistory()
	var err error
	history.isForward, history.hasMore, err = a.Chat.StoredHistory(ctx, auth.PrincipalOf(ctx), id, wanted, history.add)
	if err != nil {
		histories.Put(history)
		return nil, err
	}
	return history, nil
}

// add writes a message, its fields in the order of openapi.HistoryMessage.
func (h *storedHistory) add(message chat.StoredMessage) error {
	to := append(h.messages, `{"attachments":`...)
	if message.Attachments == nil {
		to = append(to, "[]"...)
	} else {
		// Few have any, which are not stored as they are shown.
		attachments, err := list[openapi.Attachment](message.Attachments)
		if err != nil {
			return err
		}
		shown, err := json.Marshal(attachments)
		if err != nil {
			return err
		}
		to = append(to, shown...)
	}
	to = appendString(append(to, `,"content":`...), message.Content)
	to = appendUUID(append(to, `,"id":"`...), message.ID)
	to = append(to, `","metadata":`...)
	if message.Metadata == nil {
		to = append(to, "{}"...)
	} else {
		to = appendCompact(to, message.Metadata)
	}
	to = appendString(append(to, `,"sender":`...), message.Sender)
	to = strconv.AppendInt(append(to, `,"seq":`...), message.Seq, 10)
	to = append(to, `,"timestamp":"`...)
	to = appendStamp(to, message.CreatedAt)
	h.messages = append(to, `"}`...)
	h.ends = append(h.ends, len(h.messages))
	return nil
}

// VisitGetHistoryResponse writes the page.
func (h *storedHistory) VisitGetHistoryResponse(w http.ResponseWriter) error {
	to := append(h.body, `{"has_more":`...)
	to = strconv.AppendBool(to, h.hasMore)
	to = append(to, `,"messages":[`...)
	for i := range h.ends {
		at := i
		if !h.isForward {
			at = len(h.ends) - 1 - i
		}
		if i > 0 {
			to = append(to, ',')
		}
		begin := 0
		if at > 0 {
			begin = h.ends[at-1]
		}
		to = append(to, h.messages[begin:h.ends[at]]...)
	}
	h.body = append(to, "]}\n"...)
	w.Header().Set("Content-Type", "application/json")
	// It is known, and spares the answer from being cut into chunks.
	w.Header().Set("Content-Length", strconv.Itoa(len(h.body)))
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(h.body)
	if cap(h.body) <= maxKept {
		histories.Put(h)
	}
	return err
}
