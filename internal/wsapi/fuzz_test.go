package wsapi_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/contracttest"
	"parley/internal/wsapi"
)

// Every frame is either refused with an error, or parsed into a message that matches the OpenAPI schema and that
// PostgreSQL can store.
func FuzzParseFrame(f *testing.F) {
	session := uuid.Must(uuid.NewV7())
	for _, seed := range []string{
		"", "{", "null", "[]", `"message"`, "{}{}", `{"type":"message"}`, `{"type":"typing","content":"Hi"}`,
		frameOf("Hi"), frameOf(""), frameOf("Hi", "session_id", session), frameOf("Hi", "session_id", strings.ToUpper(session.String())),
		frameOf("Hi", "session_id", uuid.NewString()), frameOf("Hi", "client_message_id", "c-1", "metadata", object{"a": []int{1}}),
		frameOf("Hi", "attachments", []object{{"file": "https://a.example/x", "type": "image"}, {"id": "x"}}),
		frameOf(strings.Repeat("字", 100001)), frameOf("Hi", "metadata", "text"), `{"type":"message","content":"\u0000"}`,
		`{"type":"message","content":"\\u0000"}`, `{"type":"message","content":"\ud800","metadata":{"\udfff":1e400}}`,
		"{\"type\":\"message\",\"content\":\"\xff\"}", `{"TYPE":"message","Content":"Hi"}`, `{"type":"message","content":"a","metadata":null}`,
		`{"type":"message","content":"a","metadata":` + strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200) + "}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := wsapi.ParseFrame(session, bytes.Clone(data)) // parsing may modify the data
		if err != nil {
			if apperr.KindOf(err) == apperr.Internal {
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		texts := []string{frame.Content}
		if frame.ClientMessageID != nil {
			texts = append(texts, *frame.ClientMessageID)
		}
		if frame.Metadata != nil {
			var free object
			if err := json.Unmarshal(*frame.Metadata, &free); err != nil && !strings.Contains(err.Error(), "cannot unmarshal number") {
				t.Fatalf("%q: the metadata %s: %v", data, *frame.Metadata, err)
			}
			texts = append(texts, string(*frame.Metadata))
		}
		for _, text := range texts {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				t.Fatalf("%q was accepted with the text %q", data, text)
			}
		}
		if utf8.RuneCountInString(frame.Content) > 100000 || frame.Type != "message" {
			t.Fatalf("%q was accepted", data)
		}
		if err := contracttest.CheckSchema("ClientMessageFrame", must(json.Marshal(frame))); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
	})
}
