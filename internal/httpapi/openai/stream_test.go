package openai_test

import (
	"encoding/json"
	"strings"
	"testing"

	"parley/internal/httpapi/openai"
)

// chunk is the part of an event that the tests read.
type chunk struct {
	Choices []struct {
		Delta struct {
			Content string `json:"content"`
		} `json:"delta"`
	} `json:"choices"`
	Error json.RawMessage `json:"error"`
}

// read returns the text of a stream, whether an event has an error, and whether the stream ends with [DONE].
func read(t *testing.T, stream string) (content string, hasError, isDone bool) {
	t.Helper()
	for event := range strings.SplitSeq(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
		data, ok := strings.CutPrefix(event, "data: ")
		if !ok || isDone {
			t.Fatalf("the event is %q after [DONE] %v", event, isDone)
		}
		if data == "[DONE]" {
			isDone = true
			continue
		}
		var read chunk
		if err := json.Unmarshal([]byte(data), &read); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		if read.Error != nil {
			hasError = true
			continue
		}
		content += read.Choices[0].Delta.Content
	}
	return content, hasError, isDone
}

// Chunks that were sent cannot be replaced. A restarted reply continues if its text begins with the sent text, and
// fails otherwise.
func TestRestartedReplyContinuesOrFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		after []string
		want  string
		fails bool
	}{
		{nil, "One two", false},
		{[]string{"One two"}, "One two", false},
		{[]string{"One ", "two", " three"}, "One two three", false},
		{[]string{"", "One two three", " four"}, "One two three four", false},
		{[]string{"One ", "three"}, "One two", true},
		{[]string{"One two", " three", " four"}, "One two three four", false},
		{[]string{"One "}, "One two", true},
		{[]string{"Two"}, "One two", true},
	} {
		stream, err := openai.RestartedStream("One two", c.after...)
		content, hasError, isDone := read(t, stream)
		if content != c.want || hasError != c.fails || isDone == c.fails || err != nil && !c.fails {
			t.Errorf("%q: %s, %v", c.after, stream, err)
		}
	}
}

// A delta is encoded byte for byte as encoding/json encodes the generated type, even if the name of the model looks
// like the empty content.
func TestDeltaIsEncodedLikeEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"plain", `"quoted" \ and /`, "<script>alert('&amp;')</script>", "\u2028\u2029", "請問", "🙂", "\xff\xfe", "a\xc3(b", "\x00\x1f\x7f", "\r\n\t",
	} {
		if got, want, err := openai.ChunkOf(text, `a "content":"" `+text); err != nil || got != want {
			t.Errorf("%q: %v\n got %s\nwant %s", text, err, got, want)
		}
	}
}
