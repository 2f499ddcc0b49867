package llm_test

import (
	"strings"
	"testing"

	"parley/internal/llm"
)

// plainChunks are chunks in the form that servers use for nearly every token.
var plainChunks = []string{
	`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini","service_tier":"default","system_fingerprint":null,` +
		`"choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"5Kx2"}`,
	`{"id": "1", "created": 0, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "請問", "reasoning_content": null}, "finish_reason": null}]}`,
	`{"choices":[{"delta":{"content":"a \"quoted\" line\n\u8acb\ud83d\ude42"}}]}`,
	`{"choices":[{"finish_reason":null,"index":0,"delta":{"content":" day"}}],"created":1,"usage":null,"error":null}`,
}

// otherChunks have other relevant content, or are malformed.
var otherChunks = []string{
	``, `{`, `{}`, `null`, `[]`, `{"choices":[]}`,
	`{"choices":[{"delta":{"content":"x"}}]} x`, `{"choices":[{"delta":{"content":"x"}}],}`, `{"choices":[{"delta":{"content":"x"}},{"delta":{"content":"y"}}]}`,
	`{"choices":[{"delta":{"content":"x"}}],"choices":[{"delta":{"content":"y"}}]}`, `{"choices":[{"delta":{"content":"x"}}],"choices":null}`,
	`{"choices":[{"delta":{"content":"x","content":"y"}}]}`, `{"choices":[{"delta":{"content":"x","Content":"y"}}]}`, `{"choices":[{"delta":{"content":"x"},"delta":null}]}`,
	`{"choices":[{"delta":{"content":"x","\u0063ontent":"y"}}]}`, `{"choices":[{"delta":{"content":"x"},"de\u006cta":{"content":"y"}}]}`,
	`{"choices":[{"delta":{"content":"x"}}],"uſage":{"prompt_tokens":1}}`, `{"choices":[{"delta":{"content":"x"}}],"Error":"no"}`,
	`{"choices":[{"index":1,"delta":{"content":"x"}}]}`, `{"choices":[{"index":0.0,"delta":{"content":"x"}}]}`, `{"choices":[{"index":"0","delta":{"content":"x"}}]}`,
	`{"choices":[{"index":00,"delta":{"content":"x"}}]}`, `{"choices":[{"delta":{"content":"x"},"message":{"content":"y"}}]}`,
	`{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}`, `{"choices":[{"delta":{"content":"x"},"finish_reason":7}]}`,
	`{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`, `{"choices":[{"delta":{"content":"x"}}],"error":"overloaded"}`,
	`{"choices":[{"delta":{"content":[{"type":"text","text":"x"}]}}]}`, `{"choices":[{"delta":{"content":""}}]}`, `{"choices":[{"delta":{"content":null}}]}`,
	`{"choices":[{"delta":{"content":"","reasoning":"hm"}}]}`, `{"choices":[{"delta":{"content":"\x"}}]}`, `{"choices":[{"delta":{"content":"\ud800"}}]}`,
	`{"choices":[{"delta":{"content":"\u0000"}}]}`, `{"choices":[{"delta":{"content":"x"}}],"created":01}`, `{"choices":[{"delta":{"content":"x"}}],"created":-1e3}`,
	"{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}", "{\"choices\":[{\"delta\":{\"content\":\"a\tb\"}}]}", `{"choices":[{"delta":{"content":"x"}}],"a":nul}`,
	`{"choices":[{"delta":{"content":"x"}}],"a":nullx}`, `{"choices":[{"delta":{"content":"x"}} ,`, `{"choices":[{"delta":{"content":"x`,
}

// A chunk is read the same with and without encoding/json.
func FuzzPlainChunks(f *testing.F) {
	for _, chunk := range append(plainChunks, otherChunks...) {
		f.Add([]byte(chunk))
	}
	f.Fuzz(func(t *testing.T, chunk []byte) {
		if got, want := llm.ReadChunk(chunk, false), llm.ReadChunk(chunk, true); got != want {
			t.Errorf("%q\n got %s\nwant %s", chunk, got, want)
		}
	})
}

func TestChunksWithTextAreReadWithoutEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, chunk := range plainChunks {
		if !llm.IsPlainChunk([]byte(chunk)) {
			t.Errorf("%s: not plain", chunk)
		}
		if got := llm.ReadChunk([]byte(chunk), false); !strings.HasPrefix(got, "progress\n\"") {
			t.Errorf("%s: got %s", chunk, got)
		}
	}
}

// BenchmarkHotChunk reads the chunk of one token.
func BenchmarkHotChunk(b *testing.B) {
	chunk := []byte(plainChunks[0])
	b.ReportAllocs()
	for b.Loop() {
		if !llm.IsPlainChunk(chunk) {
			b.Fatal("not plain")
		}
	}
}
