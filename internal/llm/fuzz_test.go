package llm_test

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"parley/internal/llm"
)

// What a model's server answers is read the same however its bytes arrive, and what it says is text.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{
		"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n", "data:{\"choices\":[{\"delta\":{\"content\":\"\\ud83d\"}}]}\r\n\r\ndata: [DONE]", ": comment\n\nevent: x\ndata: {}\n\n", "data: {\n data: }\n",
		`{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}`, `{"error":{"message":"no"}}`, "", "\n\n\n", "<html>", "data: {\"error\":\"x\"}\n\n", "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"length\"}]}\n\n",
		"\ufeffdata: [DONE]\n\n", "data: \xff\n\n", "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1e400}}\n\n", "\rdata: [DONE]\r\r",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		said, atOnce := llm.ReadReply(bytes.NewReader(body))
		for how, reader := range map[string]io.Reader{
			"byte by byte": iotest.OneByteReader(bytes.NewReader(body)), "half by half": iotest.HalfReader(bytes.NewReader(body)), "the end with bytes": iotest.DataErrReader(bytes.NewReader(body)),
		} {
			if _, got := llm.ReadReply(reader); got != atOnce {
				t.Fatalf("%q at once is %s, %s %s", body, atOnce, how, got)
			}
		}
		if !utf8.ValidString(said) {
			t.Fatalf("%q says %q", body, said)
		}
	})
}
