package llm_test

import (
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"parley/internal/apperr"
	"parley/internal/bot"
)

// wantUsage checks the token usage of a reply.
type wantUsage func(bot.Answer) bool

func usageOf(prompt, completion int) wantUsage {
	return func(a bot.Answer) bool {
		return a.PromptTokens != nil && a.CompletionTokens != nil && *a.PromptTokens == prompt && *a.CompletionTokens == completion
	}
}

func noUsage(a bot.Answer) bool { return a.PromptTokens == nil && a.CompletionTokens == nil }

// splitBytes splits a text into its bytes.
func splitBytes(text string) (parts []string) {
	for i := range len(text) {
		parts = append(parts, text[i:i+1])
	}
	return parts
}

// streamCase is a response that must be read as a complete reply.
type streamCase struct {
	parts  []string
	text   string
	finish string
	usage  wantUsage
}

// goodDay is a response that must be read as the reply "Good day", without a token usage.
func goodDay(parts ...string) streamCase { return streamCase{parts, "Good day", "stop", noUsage} }

// streamCases are responses in the formats that servers use.
var streamCases = map[string]streamCase{
	"documented format": {
		[]string{opening, textEvent("Good "), textEvent("day"), finishEvent("stop"), usage, done}, "Good day", "stop", usageOf(12, 3),
	},
	"no usage":               goodDay(opening, textEvent("Good day"), finishEvent("stop"), done),
	"no [DONE]":              {[]string{opening, textEvent("Good day"), finishEvent("stop"), usage}, "Good day", "stop", usageOf(12, 3)},
	"no usage and no [DONE]": goodDay(textEvent("Good day"), finishEvent("stop")),
	"no finish reason":       goodDay(textEvent("Good day"), done),
	"empty finish reason": {
		[]string{event(`{"choices":[{"delta":{"content":"Good day"},"finish_reason":""}]}`), finishEvent("length"), done}, "Good day", "length", noUsage,
	},
	"finish reason length":         {[]string{textEvent("Good"), finishEvent("length"), usage, done}, "Good", "length", usageOf(12, 3)},
	"finish reason content_filter": {[]string{textEvent("Good"), finishEvent("content_filter"), done}, "Good", "content_filter", noUsage},
	"text and tool call": {
		[]string{textEvent("Good"), event(`{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}`), finishEvent("tool_calls"), done}, "Good", "stop", noUsage,
	},
	"no text":       {[]string{opening, finishEvent("stop"), usage, done}, "I cannot say.", "stop", usageOf(12, 3)},
	"reasoning":     goodDay(event(`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`), textEvent("Good day"), finishEvent("stop"), done),
	"comments":      goodDay(": wait\n\n", ":\n", textEvent("Good "), ": wait\n\n", textEvent("day"), finishEvent("stop"), done),
	"other fields":  goodDay("event: message\nid: 7\nretry: 10\n"+textEvent("Good day"), finishEvent("stop"), done),
	"CRLF":          {[]string{strings.ReplaceAll(opening+textEvent("Good day")+finishEvent("stop")+usage+done, "\n", "\r\n")}, "Good day", "stop", usageOf(12, 3)},
	"no spaces":     {[]string{strings.ReplaceAll(textEvent("Goodday")+finishEvent("stop")+done, "data: ", "data:")}, "Goodday", "stop", noUsage},
	"no final line": goodDay(textEvent("Good day"), strings.TrimSpace(finishEvent("stop"))),
	"multi-line event": goodDay(
		"data: {\"choices\":\ndata: [{\"delta\":{\"content\":\"Good day\"},\ndata: \"finish_reason\":\"stop\"}]}\n\n"),
	"one character at a time": {strings.Split(textEvent("您好，世界")+finishEvent("stop")+done, ""), "您好，世界", "stop", noUsage},
	"one byte at a time":      {splitBytes(textEvent("您好，世界 👍🏽") + finishEvent("stop") + done), "您好，世界 👍🏽", "stop", noUsage},
	"several choices": {
		[]string{event(`{"choices":[{"index":1,"delta":{"content":"No"}},{"index":0,"delta":{"content":"Yes"}}]}`), finishEvent("stop"), done}, "Yes", "stop", noUsage,
	},
	"NUL":           {[]string{textEvent("a\x00b"), finishEvent("stop"), done}, "a\ufffdb", "stop", noUsage},
	"content parts": goodDay(event(`{"choices":[{"delta":{"content":[{"type":"text","text":"Good "},{"type":"text","text":"day"}]}}]}`), finishEvent("stop"), done),
	"null error":    goodDay(event(`{"error":null,"choices":[{"delta":{"content":"Good day"}}]}`), finishEvent("stop"), done),
	"usage in every chunk": {
		[]string{event(`{"choices":[{"delta":{"content":"Good"}}],"usage":{"prompt_tokens":12,"completion_tokens":1}}`), finishEvent("stop"), usage, done}, "Good", "stop", usageOf(12, 3),
	},
	"absurd usage": {
		[]string{textEvent("Good"), finishEvent("stop"), event(`{"choices":[],"usage":{"prompt_tokens":1e300,"completion_tokens":-4}}`), done}, "Good", "stop", usageOf(1<<31-1, 0),
	},
	"truncated after the finish": goodDay(textEvent("Good day"), finishEvent("stop"), `data: {"choi`),
	"one document": {
		[]string{"\n" + `{"choices":[{"index":0,"message":{"role":"assistant","content":"Good day"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":3}}`},
		"Good day", "stop", usageOf(12, 3),
	},
}

func TestStreamFormats(t *testing.T) {
	t.Parallel()
	for name, c := range streamCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withServer(t, replyWith(c.parts...), func(t *testing.T, f *fixture) {
				got := f.ask()
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

// hostileCase is a response that must fail.
type hostileCase struct {
	handler  serverHandler
	message  string // part of the error
	text     string // the deltas before the error
	requests int
}

func closeAfter(parts ...string) serverHandler {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		send(w, parts...)
		panic(http.ErrAbortHandler)
	}
}

var hostileCases = map[string]hostileCase{
	"no finish reason":             {replyWith(opening, textEvent("Good ")), "broke off", "Good ", 1},
	"no text":                      {replyWith(opening), "could not be read", "", 1},
	"empty":                        {replyWith(), "could not be read", "", 1},
	"closed connection":            {closeAfter(textEvent("Good ")), "broke off", "Good ", 1},
	"error in the middle":          {replyWith(textEvent("Good "), event(`{"error":{"message":"`+serverWords+`"}}`), done), "reported an error", "Good ", 1},
	"error as a string":            {replyWith(event(`{"error":"` + serverWords + `"}`)), "reported an error", "", 1},
	"error as a document":          {failWith(http.StatusOK), "reported an error", "", 1},
	"another document":             {replyWith(`{"hello":"` + serverWords + `"}`), "could not be read", "", 1},
	"list":                         {replyWith(`[{"error":{"message":"` + serverWords + `"}}]`), "reported an error", "", 1},
	"web page":                     {replyWith("<!doctype html><title>" + serverWords + "</title>"), "could not be read", "", 1},
	"event without JSON":           {replyWith(textEvent("Good "), event(serverWords)), "broke off", "Good ", 1},
	"endless line":                 {replyWith("data: " + strings.Repeat("x", 3<<20)), "could not be read", "", 1},
	"endless event":                {replyWith(strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 3000)), "could not be read", "", 1},
	"endless comments":             {replyWith(strings.Repeat(": "+strings.Repeat("x", 1000)+"\n", 40_000)), "could not be read", "", 1},
	"endless document":             {replyWith(`{"x":"` + strings.Repeat("x", 3<<20)), "could not be read", "", 1},
	"only [DONE]":                  {replyWith(done), "could not be read", "", 1},
	"tool call only":               {replyWith(opening, event(`{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}`), finishEvent("tool_calls"), done), "called a tool", "", 1},
	"401":                          {failWith(401), "API key", "", 1},
	"403":                          {failWith(403), "API key", "", 1},
	"404":                          {failWith(404), "base URL", "", 1},
	"400":                          {failWith(400), "rejected the request", "", 3},
	"redirect to another host":     {failWith(307, "Location", "http://elsewhere.test/"), "redirects", "", 1},
	"redirect that drops the body": {failWith(302, "Location", "/v2/chat/completions"), "redirects", "", 1},
	"endless redirects":            {failWith(308, "Location", "/v1/chat/completions"), "redirects", "", 4},
	"500":                          {failWith(500), "failed", "", 3},
	"503":                          {failWith(503), "failed", "", 3},
	"429":                          {failWith(429), "no more requests", "", 3},
	"429 with a long Retry-After":  {failWith(429, "Retry-After", "11"), "no more requests", "", 1},
}

func TestHostileServersFailWithParleysMessages(t *testing.T) {
	t.Parallel()
	for name, c := range hostileCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withServer(t, c.handler, func(t *testing.T, f *fixture) {
				got := f.ask()
				mustFail(t, got.err, apperr.UpstreamFailed, c.message)
				if got.text() != c.text {
					t.Errorf("got deltas %q, want %q", got.text(), c.text)
				}
				if n := len(f.requests()); n != c.requests {
					t.Errorf("got %d requests, want %d", n, c.requests)
				}
			})
		})
	}
}

func TestReplyLengthIsBounded(t *testing.T) {
	t.Parallel()
	const bound = 256 << 10
	piece := textEvent(strings.Repeat("字", 1000))
	withServer(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		for r.Context().Err() == nil {
			send(w, piece)
		}
	}, func(t *testing.T, f *fixture) {
		got := f.ask()
		if got.err != nil || got.FinishReason != "length" {
			t.Fatalf("got finish reason %s, error %v", got.FinishReason, got.err)
		}
		if text := got.text(); len(text) > bound || len(text) <= bound-3 || !utf8.ValidString(text) {
			t.Errorf("got %d bytes, valid: %t", len(text), utf8.ValidString(text))
		}
	})
}
