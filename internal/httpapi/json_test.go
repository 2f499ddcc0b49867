package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/httpapi"
)

// trickyStrings are strings that a JSON encoder must encode exactly.
func trickyStrings() []string {
	texts := []string{
		"", "plain", `"quoted" \ and / and 'so on'`, "<script>alert('&amp;')</script>", "\u2028\u2029", "… “quoted” \u2027\u202a",
		"請問我的訂單什麼時候會到?", "🙂👩‍👩‍👧", "\ufffd", "\u007f\u0080\u00a0\ufeff", "\xe2", "\xe2\x80", "\xe2\x80\xa8\xe2\x80", "\xff\xfe", "a\xc3(b", "\xed\xa0\x80",
		"\xf4\x90\x80\x80", "\xc0\xaf", "\xe2\x28\xa1", "end\xe2\x80\xa9",
	}
	for b := range 256 {
		texts = append(texts, string([]byte{byte(b)}), "ab"+string([]byte{byte(b)})+"cd", string([]byte{0xe2, byte(b), 0xa8}), string([]byte{0xe2, 0x80, byte(b)}))
	}
	return texts
}

// escapeNextLine returns JSON with U+0085 escaped.
func escapeNextLine(encoded string) string { return strings.ReplaceAll(encoded, "\u0085", `\u0085`) }

// Events of a stream are encoded byte for byte as encoding/json encodes the generated types.
func TestEventsAreEncodedLikeEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, text := range trickyStrings() {
		if text == "" {
			continue // an empty delta is not an event
		}
		if got, want, err := httpapi.CompletionDelta(text); err != nil || got != escapeNextLine(want) {
			t.Errorf("%q: %v\n got %s\nwant %s", text, err, got, want)
		}
	}
}

// A page of the history is encoded byte for byte as encoding/json encodes the generated type, whatever is stored.
func TestHistoryIsEncodedLikeEncodingJSON(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, staff := o.as("alice", auth.Chat), o.as("staff", auth.Agent)
	id := alice.startConversation()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	var sent []string
	for texts := range slices.Chunk(trickyStrings(), 8) {
		content := strings.ReplaceAll(strings.ToValidUTF8(strings.Join(texts, "|"), "?"), "\x00", "0")
		message := object{"content": content}
		sender := alice
		switch len(sent) % 4 {
		case 1:
			message["metadata"] = object{content: []any{content, 1e9, nil, object{"<&>": true}}}
		case 2:
			message["attachments"] = []any{object{"type": "image", "filename": "a <b> & " + content, "file": "https://files.example.com/?a=b&c=" + url.QueryEscape(content)}}
		case 3:
			sender = staff
		}
		sender.post("/api/conversations/"+id+"/messages", message)
		sent = append(sent, content)
	}
	// JSON that no operation stores but the column permits.
	alice.exec(`UPDATE message_history SET metadata = E' { "a" :\t[ 1 , 2.50 , "< \\u2028 \u2028 \\" \\\\" ] ,\r\n"b":{ } }\n' WHERE seq % 7 = 1`)
	alice.exec(`UPDATE message_history SET metadata = '{ "null" : null }', created_at = date_trunc('second', created_at) WHERE seq % 7 = 2`)
	alice.exec(`UPDATE message_history SET attachments = '[]', metadata = '{"&": [1, "&"]}' WHERE seq % 11 = 3`)
	var read []string
	for isForward := range 2 {
		for seq := 0; seq <= len(sent); seq += 40 {
			path := fmt.Sprintf("/api/conversations/%s/history?limit=40&%s", id, []string{fmt.Sprint("before_seq=", seq+1), fmt.Sprint("after_seq=", seq)}[isForward])
			got := alice.call(http.MethodGet, path, nil)
			var page openapi.GetHistory200JSONResponse
			if err := json.Unmarshal(got.body, &page); err != nil || got.status != http.StatusOK || got.header.Get("Content-Length") != fmt.Sprint(len(got.body)) {
				t.Fatalf("%s: %d, %v, Content-Length %s of %d", path, got.status, err, got.header.Get("Content-Length"), len(got.body))
			}
			want := httptest.NewRecorder()
			if err := page.VisitGetHistoryResponse(want); err != nil || string(got.body) != escapeNextLine(want.Body.String()) {
				t.Errorf("%s: %v\n got %s\nwant %s", path, err, got.body, want.Body)
			}
			for _, message := range page.Messages {
				if read = append(read, message.Content); message.Content != sent[message.Seq-1] {
					t.Errorf("message %d is %q, want %q", message.Seq, message.Content, sent[message.Seq-1])
				}
			}
		}
	}
	if len(read) < 2*len(sent)-40 {
		t.Errorf("%d of %d messages were read", len(read), 2*len(sent))
	}
}

// discard is a response writer that discards everything.
type discard struct{ header http.Header }

func (d discard) Header() http.Header               { return d.header }
func (d discard) WriteHeader(int)                   {}
func (d discard) Write(content []byte) (int, error) { return len(content), nil }

// typicalMessages are typical messages, as PostgreSQL returns them.
func typicalMessages() []chat.StoredMessage {
	contents := []string{
		"Could you tell me when my order will arrive? I placed it last Tuesday and have heard nothing since.",
		"請問我的訂單什麼時候會到?我上星期二下的單,到現在都還沒有收到任何通知,麻煩幫我查一下,謝謝。", "Thanks, that helps.", "好的,我知道了。",
	}
	messages := make([]chat.StoredMessage, 50)
	for i := range messages {
		messages[i] = chat.StoredMessage{
			ID: uuid.Must(uuid.NewV7()), Seq: int64(100 - i), Sender: []byte("user"), Content: []byte(contents[i%len(contents)]),
			CreatedAt: time.UnixMicro(1_768_473_000_000_000 - int64(i)),
		}
	}
	return messages
}

// BenchmarkHistory encodes fifty messages with the hand-written encoder.
func BenchmarkHistory(b *testing.B) {
	messages, w := typicalMessages(), discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		if err := httpapi.WriteHistory(w, messages); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHistoryGenerated encodes the same messages with encoding/json.
func BenchmarkHistoryGenerated(b *testing.B) {
	messages, w := typicalMessages(), discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		history := openapi.GetHistory200JSONResponse{Messages: make([]openapi.HistoryMessage, len(messages))}
		for i, message := range messages {
			history.Messages[i] = openapi.HistoryMessage{
				ID: message.ID, Seq: message.Seq, Sender: openapi.Speaker(message.Sender), Content: string(message.Content),
				Timestamp: message.CreatedAt.UTC().Format("2006-01-02T15:04:05.000000Z"), Attachments: []openapi.Attachment{}, Metadata: json.RawMessage("{}"),
			}
		}
		if err := history.VisitGetHistoryResponse(w); err != nil {
			b.Fatal(err)
		}
	}
}
