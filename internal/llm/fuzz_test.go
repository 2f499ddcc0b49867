package llm_test

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"parley/internal/llm"
)

// A response is read the same way however its bytes are split into packets, and the reply is valid UTF-8.
func FuzzResponses(f *testing.F) {
	for _, seed := range []string{
		"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n", "data:{\"choices\":[{\"delta\":{\"content\":\"\\ud83d\"}}]}\r\n\r\ndata: [DONE]", ": comment\n\nevent: x\ndata: {}\n\n", "data: {\n data: }\n",
		`{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}`, `{"error":{"message":"no"}}`, "", "\n\n\n", "<html>", "data: {\"error\":\"x\"}\n\n", "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"length\"}]}\n\n",
		"\ufeffdata: [DONE]\n\n", "data: \xff\n\n", "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1e400}}\n\n", "\rdata: [DONE]\r\r",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		text, want := llm.ReadReply(bytes.NewReader(body))
		for name, reader := range map[string]io.Reader{
			"one byte at a time": iotest.OneByteReader(bytes.NewReader(body)), "half of what is asked for": iotest.HalfReader(bytes.NewReader(body)), "data with io.EOF": iotest.DataErrReader(bytes.NewReader(body)),
		} {
			if _, got := llm.ReadReply(reader); got != want {
				t.Fatalf("%q: %s: got %s, want %s", body, name, got, want)
			}
		}
		if !utf8.ValidString(text) {
			t.Fatalf("%q: got %q", body, text)
		}
	})
}
