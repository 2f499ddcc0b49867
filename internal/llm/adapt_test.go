package llm_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"parley/internal/apperr"
	"parley/internal/bot"
)

func TestRequestThatIsTooLongIsShortened(t *testing.T) {
	t.Parallel()
	overflow := failWithBody(`{"error":{"code":"context_length_exceeded"}}`)
	withServer(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n < 3 {
			overflow(w)
			return
		}
		goodReply(w, r, n)
	}, func(t *testing.T, f *fixture) {
		var history []bot.Turn
		for range 20 {
			history = append(history, bot.Turn{IsAsker: true, Text: strings.Repeat("word ", 50)}, bot.Turn{Text: strings.Repeat("word ", 50)})
		}
		got := f.askQuestion(t.Context(), bot.Question{Text: "And?", History: history})
		if got.err != nil || got.text() != "Good day" {
			t.Fatalf("got %q, %v", got.text(), got.err)
		}
		sizes := []int{}
		for _, r := range f.requests() {
			sizes = append(sizes, len(r.body["messages"]))
		}
		if len(sizes) != 3 || sizes[1] > sizes[0]*6/10 || sizes[2] > sizes[0]*3/10 {
			t.Errorf("got requests with messages of %v bytes", sizes)
		}
	})
}

func failWithBody(body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(body))
	}
}

func TestTimeoutsArePerChatbotAndRejectionsAreRemembered(t *testing.T) {
	t.Parallel()
	withServer(t, sendThenHang(opening), func(t *testing.T, f *fixture) {
		f.model.Timeouts.FirstToken = 5
		start := time.Now()
		mustFail(t, f.ask().err, apperr.Timeout, "did not begin")
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("took %s, want 5s", took)
		}
	})
	withServer(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			failWithBody(`{"error":{"message":"stream_options is not allowed"}}`)(w)
			return
		}
		goodReply(w, r, n)
	}, func(t *testing.T, f *fixture) {
		for range 2 {
			if got := f.ask(); got.err != nil {
				t.Fatal(got.err)
			}
		}
		if n := len(f.requests()); n != 3 {
			t.Errorf("got %d requests, want 3", n)
		}
	})
}
