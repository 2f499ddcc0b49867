package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
)

// chunks reads a whole stream in OpenAI's format. It may contain only comments and data.
func (a answer) chunks() (events []object, isDone bool) {
	a.t.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/event-stream" {
		a.t.Fatalf("%s: %d %s\n%s", a.request, a.status, a.header.Get("Content-Type"), a.body)
	}
	return chunksOf(a.t, string(a.body))
}

func chunksOf(t testing.TB, stream string) (events []object, isDone bool) {
	t.Helper()
	if !strings.HasSuffix(stream, "\n\n") {
		t.Errorf("the stream ends within an event: %q", stream)
	}
	for block := range strings.SplitSeq(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
		data, ok := strings.CutPrefix(block, "data: ")
		switch {
		case strings.HasPrefix(block, ":"):
			continue
		case !ok || isDone || strings.Contains(data, "\n"):
			t.Fatalf("an event is %q", block)
		case data == "[DONE]":
			isDone = true
			continue
		}
		events = append(events, decode(t.(*testing.T), data).(object))
	}
	return events, isDone
}

// checkChatStream checks the rules of every stream, and returns the text: one ID, the role first, then deltas, and the finish
// reason at the end.
func checkChatStream(t *testing.T, events []object) string {
	t.Helper()
	var content strings.Builder
	for i, event := range events {
		choice := objects(event, "choices")[0]
		delta := choice["delta"].(object)
		_, hasContent := delta["content"]
		isFirst, isLast := i == 0, i == len(events)-1
		if (delta["role"] == "assistant") != isFirst || (choice["finish_reason"] == "stop") != isLast || hasContent == isLast || choice["logprobs"] != nil || event["usage"] != nil {
			t.Errorf("event %d of %d: %v", i+1, len(events), event)
		}
		for _, field := range []string{"id", "created", "model"} {
			if fmt.Sprint(event[field]) != fmt.Sprint(events[0][field]) {
				t.Errorf("%s changes to %v", field, event[field])
			}
		}
		if hasContent {
			text, _ := delta["content"].(string) // model servers begin with null
			content.WriteString(text)
		}
	}
	return content.String()
}

func asStream(body object) object {
	body["stream"] = true
	return body
}

// The joined deltas equal the JSON response, with and without a conversation.
func TestChatStreamHasTheContentOfTheJSONResponse(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	for _, asked := range []string{question, "請問如何申請退款？", "something else entirely"} {
		for _, conversation := range []string{"", alice.startConversation()} {
			body := chatBody(asked)
			if conversation != "" {
				body = withConversation(conversation, body)
			}
			want := alice.completeChat(body)
			got := alice.call(http.MethodPost, chatCompletions, asStream(body))
			events, isDone := got.chunks()
			if content := checkChatStream(t, events); content != want || !isDone || len(events) < 4 {
				t.Errorf("%s: streamed %q in %d events, done %v, the JSON response is %q", asked, content, len(events), isDone, want)
			}
			run := got.header.Get("X-Run-Id")
			if conversation == "" && run != "" || conversation != "" && text(events[0], "id") != "chatcmpl-"+run {
				t.Errorf("X-Run-Id is %q, the id %v", run, events[0]["id"])
			}
			if conversation != "" {
				alice.checkAnswered(conversation, 2)
			}
			if got.header.Get("Cache-Control") != "no-store" || got.header.Get("X-Accel-Buffering") != "no" {
				t.Errorf("%v", got.header)
			}
		}
	}
}

// The usage follows the last choice if the request includes it.
func TestChatStreamIncludesUsageOnRequest(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.withModel(serveModel(t, streamGoodDay))
	for options, want := range map[string]bool{`{"include_usage":true}`: true, `{"include_usage":false}`: false, `{"include_usage":null}`: false, `{}`: false, `null`: false} {
		body := asStream(chatBody("Hello?"))
		body["stream_options"] = json.RawMessage(options)
		events, isDone := alice.call(http.MethodPost, chatCompletions, body).chunks()
		last := events[len(events)-1]
		if want {
			if usage := (object{"prompt_tokens": 120, "completion_tokens": 7, "total_tokens": 127}); len(objects(last, "choices")) != 0 || !sameJSON(t, last["usage"], usage) {
				t.Errorf("%s: %v", options, last)
			}
			events = events[:len(events)-1]
		}
		if content := checkChatStream(t, events); content != "Good day 您好" || !isDone {
			t.Errorf("%s: %q, done %v", options, content, isDone)
		}
	}
}

// A failure during the stream is its last event. SDKs must not retry it, because Parley already has.
func TestChatStreamFailureIsTheLastEvent(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	o.expectFailures()
	alice := o.as("alice", auth.Chat)
	o.createScriptedBot("broken", object{"deltas": []any{"One ", "two"}, "failAfter": 1})
	body := func() object {
		body := chatBody("Hello?")
		body["model"] = "broken"
		return body
	}
	started := func() string {
		return text(alice.post("/api/conversations/start", object{"bot_id": "broken"}), "conversation_id")
	}
	for name, c := range map[string]struct {
		body    object
		options []option
	}{
		"without a conversation":                     {body(), nil},
		"in a conversation":                          {withConversation(started(), body()), nil},
		"in a conversation, with an Idempotency-Key": {withConversation(started(), body()), []option{withHeader("Idempotency-Key", "k")}},
	} {
		got := alice.call(http.MethodPost, chatCompletions, c.body, c.options...)
		got.wantProblem(502, "upstream_failed", "")
		if got.header.Get("X-Should-Retry") != "false" {
			t.Errorf("%s: X-Should-Retry is %q", name, got.header.Get("X-Should-Retry"))
		}
		events, isDone := alice.call(http.MethodPost, chatCompletions, asStream(c.body)).chunks()
		last := events[len(events)-1]
		failure, _ := last["error"].(object)
		if len(events) != 3 || isDone || len(last) != 1 || failure["type"] != "server_error" || failure["code"] != "upstream_failed" || failure["param"] != nil {
			t.Errorf("%s: %v", name, events)
		}
	}
}

// With an Idempotency-Key, a repeated stream in a conversation follows the same run.
func TestRepeatedChatStreamFollowsTheSameRun(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	body := asStream(withConversation(alice.startConversation(), chatBody(question)))
	first := alice.call(http.MethodPost, chatCompletions, body, withHeader("Idempotency-Key", "k"))
	again := alice.call(http.MethodPost, chatCompletions, body, withHeader("Idempotency-Key", "k"))
	events, _ := first.chunks()
	repeated, isDone := again.chunks()
	if checkChatStream(t, repeated) != checkChatStream(t, events) || !isDone || text(repeated[0], "id") != text(events[0], "id") || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%v and %v", events, repeated)
	}
	alice.checkAnswered(text(body["metadata"].(object), "conversation_id"), 1)
}

// Repeating a failed completion in a conversation under its key asks the stored question again, as JSON and as a
// stream.
func TestRepeatOfAFailedChatCompletionRetriesTheStoredQuestion(t *testing.T) {
	t.Parallel()
	for _, isStreaming := range []bool{false, true} {
		alice, _ := scriptedCaller(t, object{"deltas": []string{"Oh", "no"}, "failAfter": 1})
		alice.expectFailures()
		body := withConversation(text(alice.post("/api/conversations/start", object{"bot_id": "s"}), "conversation_id"), chatBody("Hello?"))
		if body["model"] = "s"; isStreaming {
			body = asStream(body)
		}
		for n := range 4 {
			if n == 3 {
				alice.replyWith(object{"deltas": []string{"Better."}})
			}
			got := alice.call(http.MethodPost, chatCompletions, body, withHeader("Idempotency-Key", "k"))
			switch {
			case isStreaming:
				if _, isDone := got.chunks(); isDone != (n == 3) {
					t.Errorf("attempt %d: %s", n, got.body)
				}
			case n < 3:
				got.wantProblem(502, "upstream_failed", "")
			default:
				got.wantStatus(http.StatusOK)
			}
			alice.awaitReplies()
			if counts := alice.countRows(); counts.Questions != 1 || counts.Runs != n+1 {
				t.Errorf("after attempt %d the rows are %+v", n, counts)
			}
		}
		if last := query[string](alice.server, "SELECT content FROM message_history ORDER BY seq DESC LIMIT 1"); last != "Better." {
			t.Errorf("the last message is %q", last)
		}
	}
}
