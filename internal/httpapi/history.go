package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"

	"parley/gen/openapi"
	"parley/internal/chat"
	"parley/internal/jsontext"
)

// historyPage is the response of getHistory. History is read often and pages are large, so the JSON
// is written straight from the rows, byte for byte as encoding/json writes openapi.History. A page
// is used for one response and then returned to the pool.
type historyPage struct {
	messages  []byte // the JSON of the messages, in the order in which they were read
	ends      []int  // where each message ends
	isForward bool   // they were read oldest first
	hasMore   bool
	body      []byte
}

var historyPages = sync.Pool{New: func() any { return new(historyPage) }}

// maxPooledPage is the size in bytes up to which a page is returned to the pool.
const maxPooledPage = 1 << 20

func newHistoryPage() *historyPage {
	p := historyPages.Get().(*historyPage)
	p.messages, p.ends, p.body = p.messages[:0], p.ends[:0], p.body[:0]
	return p
}

// add appends a message. The fields are in the order of openapi.HistoryMessage.
func (p *historyPage) add(message chat.StoredMessage) error {
	to := append(p.messages, `{"attachments":`...)
	if message.Attachments == nil {
		to = append(to, "[]"...)
	} else {
		// Few messages have attachments, and the stored form differs.
		attachments, err := list[openapi.Attachment](message.Attachments)
		if err != nil {
			return err
		}
		encoded, err := json.Marshal(attachments)
		if err != nil {
			return err
		}
		to = append(to, jsontext.EscapeNextLine(encoded)...)
	}
	to = jsontext.AppendString(append(to, `,"content":`...), message.Content)
	to = jsontext.AppendUUID(append(to, `,"id":"`...), message.ID)
	to = append(to, `","metadata":`...)
	if message.Metadata == nil {
		to = append(to, "{}"...)
	} else {
		to = jsontext.AppendCompact(to, message.Metadata)
	}
	to = jsontext.AppendString(append(to, `,"sender":`...), message.Sender)
	to = strconv.AppendInt(append(to, `,"seq":`...), message.Seq, 10)
	to = jsontext.AppendTime(append(to, `,"timestamp":"`...), message.CreatedAt)
	p.messages = append(to, `"}`...)
	p.ends = append(p.ends, len(p.messages))
	return nil
}

// VisitGetHistoryResponse writes the page, oldest message first.
func (p *historyPage) VisitGetHistoryResponse(w http.ResponseWriter) error {
	to := append(p.body, `{"has_more":`...)
	to = strconv.AppendBool(to, p.hasMore)
	to = append(to, `,"messages":[`...)
	for i := range p.ends {
		at := i
		if !p.isForward {
			at = len(p.ends) - 1 - i
		}
		if i > 0 {
			to = append(to, ',')
		}
		begin := 0
		if at > 0 {
			begin = p.ends[at-1]
		}
		to = append(to, p.messages[begin:p.ends[at]]...)
	}
	p.body = append(to, "]}\n"...)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(p.body))) // avoids chunked encoding
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(p.body)
	if cap(p.body) <= maxPooledPage {
		historyPages.Put(p)
	}
	return err
}
