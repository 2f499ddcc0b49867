package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/gen/openapi"
	"parley/internal/chat"
	"parley/internal/httpapi"
)

// awkward are texts of which each byte matters to whoever writes JSON.
func awkward() []string {
	texts := []string{
		"", "plain", `"quoted" \ and / and 'so on'`, "<script>alert('&amp;')</script>", "\u2028\u2029", "… “quoted” \u2027\u202a",
		"請問我的訂單什麼時候會到?", "🙂👩‍👩‍👧", "\ufffd", "\u007f\u0080\u00a0\ufeff", "\xe2", "\xe2\x80", "\xe2\x80\xa8\xe2\x80", "\xff\xfe", "a\xc3(b", "\xed\xa0\x80",
		"\xf4\x90\x80\x80", "\xc0\xaf", "\xe2\x28\xa1", "end\xe2\x80\xa9",
	}
	for b := range 256 {
		texts = append(texts, string([]byte{byte(b)}), "ab"+string([]byte{byte(b)})+"cd", string([]byte{0xe2, byte(b), 0xa8}), string([]byte{0xe2, 0x80, byte(b)}))
	}
	for r := rune(0x2000); r < 0x2070; r++ {
		texts = append(texts, string(r)+string(r))
	}
	return texts
}

// Strings are written byte for byte as encoding/json writes them, whatever their bytes are.
func FuzzStringsAreWrittenAsEncodingJSONDoes(f *testing.F) {
	for _, text := range awkward() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want, err := json.Marshal(string(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := httpapi.AppendString([]byte("before"), text); string(got) != "before"+string(want) {
			t.Errorf("%q\n got %s\nwant before%s", text, got, want)
		}
	})
}

// Free JSON is written byte for byte as encoding/json writes a RawMessage.
func FuzzFreeJSONIsWrittenAsEncodingJSONDoes(f *testing.F) {
	for _, text := range awkward() {
		if quoted, err := json.Marshal(text); err == nil {
			f.Add(fmt.Appendf(nil, " { %s :\t[ %s , 1e999,-0.0 ] ,\r\n\"a b\\\" c\\\\\": \"%s\" } \n", quoted, quoted, text))
		}
	}
	f.Add([]byte(`"\\" `))
	f.Add([]byte(`{"\u003c":"\ud800","<":null , "x":"\\\" "}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		want, err := json.Marshal(json.RawMessage(text))
		if err != nil {
			return // PostgreSQL keeps none that is no JSON
		}
		if got := httpapi.AppendCompact(nil, text); !bytes.Equal(got, want) {
			t.Errorf("%q\n got %s\nwant %s", text, got, want)
		}
	})
}

// Events that tell more of a reply are written byte for byte as encoding/json writes their types.
func TestEventsAreWrittenAsEncodingJSONDoes(t *testing.T) {
	t.Parallel()
	for _, text := range awkward() {
		if text == "" {
			continue // nothing more is no event
		}
		if got, want, err := httpapi.Grown(text); err != nil || got != want {
			t.Errorf("%q: %v\n got %s\nwant %s", text, err, got, want)
		}
		if got, want, err := httpapi.GrownChat(text, `a "content":"" `+text); err != nil || got != want {
			t.Errorf("%q: %v\n got %s\nwant %s", text, err, got, want)
		}
	}
}

// Times are written with six digits and Z, as far as the calendar goes.
func TestTimesAreWrittenAsTheContractHasThem(t *testing.T) {
	t.Parallel()
	for _, micros := range []int64{0, 1, -1, 999_999, 1_768_473_000_123_456, -62_135_596_800_000_000, -62_167_219_200_000_001, 253_402_300_799_999_999, 253_402_300_800_000_000} {
		at := time.UnixMicro(micros).In(time.FixedZone("", 8*3600))
		if got, want := string(httpapi.AppendStamp(nil, at)), at.UTC().Format(sixDigits); got != want {
			t.Errorf("%d is %s, want %s", micros, got, want)
		}
	}
}

// discard is an answer that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header               { return d.header }
func (d discard) WriteHeader(int)                   {}
func (d discard) Write(content []byte) (int, error) { return len(content), nil }

// fifty are messages such as are said, as PostgreSQL sends them.
func fifty() []chat.StoredMessage {
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

// BenchmarkHistory writes fifty messages by hand.
func BenchmarkHistory(b *testing.B) {
	messages, w := fifty(), discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		if err := httpapi.AppendHistory(w, messages); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHistoryGenerated writes the same by the generated type.
func BenchmarkHistoryGenerated(b *testing.B) {
	messages, w := fifty(), discard{http.Header{}}
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
