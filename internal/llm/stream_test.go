package llm_test

import (
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"parley/internal/apperr"
	"parley/internal/bot"
)

func usageIs(prompt, completion int) func(bot.Answer) bool {
	return func(a bot.Answer) bool {
		return a.PromptTokens != nil && a.CompletionTokens != nil && *a.PromptTokens == prompt && *a.CompletionTokens == completion
	}
}

func noUsage(a bot.Answer) bool { return a.PromptTokens == nil && a.CompletionTokens == nil }

func TestARepliesStreamIsReadWhateverItsHabits(t *testing.T) {
	t.Parallel()
	bytewise := func(text string) []string { return strings.Split(text, "") } // of UTF-8: by characters
	cut := func(text string) (parts []string) {
		for i := range len(text) {
			parts = append(parts, text[i:i+1])
		}
		return parts
	}
	cases := map[string]struct {
		stream []string
		text   string
		finish string
		usage  func(bot.Answer) bool
	}{
		"as the document has it": {
			[]string{opening, says("Good "), says("day"), finishes("stop"), usage, done}, "Good day", "stop", usageIs(12, 3),
		},
		"without a usage":        {[]string{opening, says("Good day"), finishes("stop"), done}, "Good day", "stop", noUsage},
		"without [DONE]":         {[]string{opening, says("Good day"), finishes("stop"), usage}, "Good day", "stop", usageIs(12, 3)},
		"without either":         {[]string{says("Good day"), finishes("stop")}, "Good day", "stop", noUsage},
		"without a reason":       {[]string{says("Good day"), done}, "Good day", "stop", noUsage},
		"with an empty reason":   {[]string{data(`{"choices":[{"delta":{"content":"Good day"},"finish_reason":""}]}`), finishes("length"), done}, "Good day", "length", noUsage},
		"out of room":            {[]string{says("Good"), finishes("length"), usage, done}, "Good", "length", usageIs(12, 3)},
		"cut off by a filter":    {[]string{says("Good"), finishes("content_filter"), done}, "Good", "stop", noUsage},
		"with a call of a tool":  {[]string{says("Good"), data(`{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}`), finishes("tool_calls"), done}, "Good", "stop", noUsage},
		"with nothing but tools": {[]string{opening, data(`{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}`), finishes("tool_calls"), done}, "I cannot say.", "stop", noUsage},
		"with nothing at all":    {[]string{opening, finishes("stop"), usage, done}, "I cannot say.", "stop", usageIs(12, 3)},
		"with reasoning before": {
			[]string{data(`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`), says("Good day"), finishes("stop"), done}, "Good day", "stop", noUsage,
		},
		"with comments": {[]string{": wait\n\n", ":\n", says("Good "), ": wait\n\n", says("day"), finishes("stop"), done}, "Good day", "stop", noUsage},
		"with other fields": {
			[]string{"event: message\nid: 7\nretry: 10\n" + says("Good day"), finishes("stop"), done}, "Good day", "stop", noUsage,
		},
		"with CRLF": {
			[]string{strings.ReplaceAll(opening+says("Good day")+finishes("stop")+usage+done, "\n", "\r\n")}, "Good day", "stop", usageIs(12, 3),
		},
		"without spaces": {
			[]string{strings.ReplaceAll(says("Goodday")+finishes("stop")+done, "data: ", "data:")}, "Goodday", "stop", noUsage,
		},
		"without the last empty line": {[]string{says("Good day"), strings.TrimSpace(finishes("stop"))}, "Good day", "stop", noUsage},
		"an event over several lines": {
			[]string{"data: {\"choices\":\ndata: [{\"delta\":{\"content\":\"Good day\"},\ndata: \"finish_reason\":\"stop\"}]}\n\n"}, "Good day", "stop", noUsage,
		},
		"by characters":      {bytewise(says("您好，世界") + finishes("stop") + done), "您好，世界", "stop", noUsage},
		"by bytes":           {cut(says("您好，世界 👍🏽") + finishes("stop") + done), "您好，世界 👍🏽", "stop", noUsage},
		"with other choices": {[]string{data(`{"choices":[{"index":1,"delta":{"content":"No"}},{"index":0,"delta":{"content":"Yes"}}]}`), finishes("stop"), done}, "Yes", "stop", noUsage},
		"with a NUL":         {[]string{says("a\x00b"), finishes("stop"), done}, "a\ufffdb", "stop", noUsage},
		"with parts":         {[]string{data(`{"choices":[{"delta":{"content":[{"type":"text","text":"Good "},{"type":"text","text":"day"}]}}]}`), finishes("stop"), done}, "Good day", "stop", noUsage},
		"with a null error":  {[]string{data(`{"error":null,"choices":[{"delta":{"content":"Good day"}}]}`), finishes("stop"), done}, "Good day", "stop", noUsage},
		"with a growing usage": {
			[]string{data(`{"choices":[{"delta":{"content":"Good"}}],"usage":{"prompt_tokens":12,"completion_tokens":1}}`), finishes("stop"), usage, done}, "Good", "stop", usageIs(12, 3),
		},
		"with an absurd usage": {
			[]string{says("Good"), finishes("stop"), data(`{"usage":{"prompt_tokens":1e300,"completion_tokens":-4}}`), done}, "Good", "stop", usageIs(1<<31-1, 0),
		},
		"with half a line at its end": {[]string{says("Good day"), finishes("stop"), `data: {"choi`}, "Good day", "stop", noUsage},
		"as one document": {
			[]string{"\n" + `{"choices":[{"index":0,"message":{"role":"assistant","content":"Good day"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":3}}`},
			"Good day", "stop", usageIs(12, 3),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withUpstream(t, answering(c.stream...), func(t *testing.T, u *upstream) {
				got := u.ask()
				if got.err != nil {
					t.Fatal(got.err)
				}
				if got.text() != c.text || got.FinishReason != c.finish || !c.usage(got.Answer) {
					t.Errorf("got %q, %s, %v, %v", got.text(), got.FinishReason, got.PromptTokens, got.CompletionTokens)
				}
			})
		})
	}
}

func TestAReplyThatGoesWrongIsAFaultInOurWords(t *testing.T) {
	t.Parallel()
	hangUp := func(w http.ResponseWriter, _ *http.Request, _ int) {
		send(w, says("Good "))
		panic(http.ErrAbortHandler)
	}
	cases := map[string]struct {
		habit    func(http.ResponseWriter, *http.Request, int)
		kind     apperr.Kind
		says     string
		text     string // what came before
		requests int
	}{
		"it ends without a reason":      {answering(opening, says("Good ")), apperr.UpstreamFailed, "broke off", "Good ", 1},
		"it ends before it begins":      {answering(opening), apperr.UpstreamFailed, "could not be read", "", 1},
		"it has nothing":                {answering(), apperr.UpstreamFailed, "could not be read", "", 1},
		"it hangs up":                   {hangUp, apperr.UpstreamFailed, "broke off", "Good ", 1},
		"an error in the middle":        {answering(says("Good "), data(`{"error":{"message":"`+secretWords+`"}}`), done), apperr.UpstreamFailed, "reports an error", "Good ", 1},
		"an error that is a text":       {answering(data(`{"error":"` + secretWords + `"}`)), apperr.UpstreamFailed, "reports an error", "", 1},
		"an error for a document":       {answeringStatus(http.StatusOK), apperr.UpstreamFailed, "reports an error", "", 1},
		"a document of something else":  {answering(`{"hello":"` + secretWords + `"}`), apperr.UpstreamFailed, "could not be read", "", 1},
		"a list":                        {answering(`[{"error":{"message":"` + secretWords + `"}}]`), apperr.UpstreamFailed, "could not be read", "", 1},
		"a web page":                    {answering("<!doctype html><title>" + secretWords + "</title>"), apperr.UpstreamFailed, "could not be read", "", 1},
		"an event that is not JSON":     {answering(says("Good "), data(secretWords)), apperr.UpstreamFailed, "broke off", "Good ", 1},
		"a line without end":            {answering("data: " + strings.Repeat("x", 3<<20)), apperr.UpstreamFailed, "could not be read", "", 1},
		"an event without end":          {answering(strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 3000)), apperr.UpstreamFailed, "could not be read", "", 1},
		"comments without end":          {answering(strings.Repeat(": "+strings.Repeat("x", 1000)+"\n", 40_000)), apperr.UpstreamFailed, "could not be read", "", 1},
		"a document without end":        {answering(`{"x":"` + strings.Repeat("x", 3<<20)), apperr.UpstreamFailed, "could not be read", "", 1},
		"it is not authorized":          {answeringStatus(401), apperr.UpstreamFailed, "API key", "", 1},
		"it is forbidden":               {answeringStatus(403), apperr.UpstreamFailed, "API key", "", 1},
		"nothing is there":              {answeringStatus(404), apperr.UpstreamFailed, "base URL", "", 1},
		"it is refused":                 {answeringStatus(400), apperr.UpstreamFailed, "refused", "", 1},
		"it redirects to another host":  {answeringStatus(307, "Location", "http://elsewhere.test/"), apperr.UpstreamFailed, "redirects", "", 1},
		"it redirects without the body": {answeringStatus(302, "Location", "/v2/chat/completions"), apperr.UpstreamFailed, "redirects", "", 1},
		"it redirects for ever":         {answeringStatus(308, "Location", "/v1/chat/completions"), apperr.UpstreamFailed, "redirects", "", 4},
		"it is broken":                  {answeringStatus(500), apperr.UpstreamFailed, "failed", "", 3},
		"it is overloaded":              {answeringStatus(503), apperr.UpstreamFailed, "failed", "", 3},
		"it is busy":                    {answeringStatus(429), apperr.UpstreamFailed, "no more requests", "", 3},
		"it is busy for long":           {answeringStatus(429, "Retry-After", "11"), apperr.UpstreamFailed, "no more requests", "", 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withUpstream(t, c.habit, func(t *testing.T, u *upstream) {
				got := u.ask()
				mustTell(t, got.err, c.kind, c.says)
				if got.text() != c.text {
					t.Errorf("before that came %q", got.text())
				}
				if n := len(u.requests()); n != c.requests {
					t.Errorf("it was asked %d times", n)
				}
			})
		})
	}
}

// mustTell checks a fault: what it tells, and that neither it nor the log has what they must not have.
func mustTell(t *testing.T, err error, kind apperr.Kind, says string) {
	t.Helper()
	told := told(t, err)
	if told.Kind != kind || !strings.Contains(told.Message, says) {
		t.Errorf("got %s: %s", told.Kind, told.Message)
	}
	if strings.Contains(told.Message, secretWords) {
		t.Errorf("it is told in the upstream's words: %s", told.Message)
	}
	if strings.Contains(err.Error(), upstreamKey) {
		t.Errorf("the log would tell the key: %v", err)
	}
}

func TestAReplyIsBounded(t *testing.T) {
	t.Parallel()
	const bound = 256 << 10
	piece := strings.Repeat("字", 1000)
	withUpstream(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		for r.Context().Err() == nil {
			send(w, says(piece))
		}
	}, func(t *testing.T, u *upstream) {
		got := u.ask()
		if got.err != nil || got.FinishReason != "length" {
			t.Fatalf("it ended with %s, %v", got.FinishReason, got.err)
		}
		if text := got.text(); len(text) > bound || len(text) <= bound-3 || !utf8.ValidString(text) {
			t.Errorf("it is %d bytes, valid: %t", len(text), utf8.ValidString(text))
		}
	})
}
