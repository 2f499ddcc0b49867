package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
)

// event is an event of a stream.
type event struct {
	id   string
	data object
}

// events reads a whole stream. It may contain only comments, IDs and data.
func (a answer) events() []event {
	a.t.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/event-stream" {
		a.t.Fatalf("%s: %d %s\n%s", a.request, a.status, a.header.Get("Content-Type"), a.body)
	}
	if !bytes.HasSuffix(a.body, []byte("\n\n")) {
		a.t.Errorf("%s: the stream ends within an event", a.request)
	}
	var found []event
	for block := range strings.SplitSeq(strings.TrimSuffix(string(a.body), "\n\n"), "\n\n") {
		if strings.HasPrefix(block, ":") {
			continue
		}
		lines := strings.Split(block, "\n")
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "id: ") || !strings.HasPrefix(lines[1], "data: ") {
			a.t.Fatalf("%s: an event is %q", a.request, block)
		}
		next := event{id: strings.TrimPrefix(lines[0], "id: ")}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(lines[1], "data: ")), &next.data); err != nil {
			a.t.Fatalf("%s: %v", block, err)
		}
		found = append(found, next)
	}
	return found
}

// checkStream checks the rules of every stream, and returns its text and its last event: IDs increase, every event names
// the same run, exactly one event is the last, and only that one has the closing fields.
func checkStream(t testing.TB, events []event) (string, object) {
	t.Helper()
	return checkResumedStream(t, "", events)
}

// lineBreaks are the characters at which Python's splitlines ends a line.
const lineBreaks = "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029"

// Each event is one line for any reader, whatever the reply contains, in every stream and in JSON Lines.
func TestLineBreaksInRepliesDoNotSplitEvents(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, object{"deltas": []string{"a" + lineBreaks, lineBreaks + "b"}, "suggestions": []object{{"text": lineBreaks}}})
	whole := "a" + lineBreaks + lineBreaks + "b"
	body := asStream(chatBody("Hi" + lineBreaks))
	body["model"] = "s"
	admin := alice.as("manager", auth.Admin)
	stream := alice.call(http.MethodPost, path, completionBody("Hi"+lineBreaks, true))
	if got, _ := checkStream(t, stream.events()); got != whole {
		t.Errorf("the reply is %q", got)
	}
	alice.awaitReplies()
	for _, got := range []answer{
		stream, alice.call(http.MethodPost, chatCompletions, body), admin.call(http.MethodGet, "/api/chatbots/s/records/export/"+withDays("format=jsonl"), nil),
	} {
		if got.status != http.StatusOK || strings.ContainsAny(strings.ReplaceAll(string(got.body), "\n", ""), lineBreaks) {
			t.Errorf("%s: %d %q", got.request, got.status, got.body)
		}
	}
}

// isFinalOffset reports whether an offset is that of the last event of a text: the length of the text plus one, unless only
// this instance has given up.
func isFinalOffset(last event, at, length int) bool {
	return at == length+1 || at == length && last.data["finishReason"] == "error"
}

// checkResumedStream is joined for a listener that already has the beginning of the text. A reset event discards it.
func checkResumedStream(t testing.TB, held string, events []event) (string, object) {
	t.Helper()
	content := held
	attempt, offset := 0, len(held)
	for i, current := range events {
		var a, o int
		if n, err := fmt.Sscanf(current.id, "%d.%d", &a, &o); n != 2 || err != nil || fmt.Sprintf("%d.%d", a, o) != current.id {
			t.Fatalf("the id %q is not <attempt>.<offset>", current.id)
		}
		isLast, isReset := i == len(events)-1, current.data["reset"] == true
		if isReset {
			content, offset = "", 0
		}
		content += current.data["content"].(string)
		switch {
		case i == 0:
		case a != attempt && !isReset && offset > 0, a < attempt, !isLast && !isReset && o <= offset, isLast && !isFinalOffset(current, o, offset):
			t.Errorf("event %d of %d has the id %s after %d.%d", i+1, len(events), current.id, attempt, offset)
		}
		if !isLast && o != len(content) {
			t.Errorf("the id %s after %d bytes", current.id, len(content))
		}
		attempt, offset = a, o
		for _, field := range []string{"conversationId", "runId", "messageId"} {
			if current.data[field] != events[0].data[field] {
				t.Errorf("%s changes to %v", field, current.data[field])
			}
		}
		if current.data["done"] != isLast || (current.data["content"] == "") != isLast && !isReset {
			t.Errorf("event %d of %d: %v", i+1, len(events), current.data)
		}
		for _, field := range []string{"citations", "citationNodes", "suggestions", "usage", "finishReason"} {
			if _, ok := current.data[field]; ok != isLast {
				t.Errorf("event %d of %d has %s: %v", i+1, len(events), field, ok)
			}
		}
	}
	return content, events[len(events)-1].data
}

func (c caller) stream(body object) answer {
	c.t.Helper()
	body["isStreaming"] = true
	return c.call(http.MethodPost, completions, body)
}

// The joined deltas equal the stored message and the JSON response to the same question.
func TestStreamHasTheContentOfTheJSONResponse(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	for _, asked := range []string{question, "請問如何申請退款？", "Which payment methods?", "something else entirely", "?"} {
		got := alice.stream(object{"message": object{"content": asked}})
		events := got.events()
		content, last := checkStream(t, events)
		plain := alice.call(http.MethodPost, completions, object{"message": object{"content": asked}}).wantStatus(200)
		stored := alice.get("/api/messages/" + last["messageId"].(string) + "/")
		if content != plain["content"] || content != stored["content"] {
			t.Errorf("%s: streamed %q, the JSON response is %q, stored %q", asked, content, plain["content"], stored["content"])
		}
		if content == longAnswer && len(events) < 5 {
			t.Errorf("the long answer has %d events", len(events))
		}
		if len(events) < 3 {
			t.Errorf("%s: got %d deltas, want several", asked, len(events)-1)
		}
		for _, field := range []string{"citations", "citationNodes", "suggestions", "usage", "finishReason"} {
			if fmt.Sprint(last[field]) != fmt.Sprint(plain[field]) {
				t.Errorf("%s: the stream's %s is %v, the JSON response's %v", asked, field, last[field], plain[field])
			}
		}
		if last["error"] != nil || stored["runId"] != last["runId"] || stored["conversation"] != last["conversationId"] {
			t.Errorf("%v, stored %v", last, stored)
		}
		for name, want := range map[string]string{
			"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Run-Id": last["runId"].(string),
		} {
			if got.header.Get(name) != want {
				t.Errorf("%s is %q, want %q", name, got.header.Get(name), want)
			}
		}
	}
}

// Every error that can be detected early has its status, and begins no stream.
func TestInvalidRequestsAreRejectedBeforeTheStreamBegins(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
	id := bob.startConversation()
	alice.stream(object{"message": object{"content": " "}}).wantProblem(400, "invalid_message", "/message/content")
	alice.stream(object{"message": object{"content": "Hi", "sender": "x"}}).wantProblem(400, "invalid_request", "/message/sender")
	alice.stream(object{"message": object{"content": strings.Repeat("x", 100001)}}).wantProblem(413, "too_large", "/message/content")
	alice.stream(object{"conversation": id, "message": object{"content": "Hi"}}).wantProblem(403, "forbidden", "")
	alice.stream(object{"conversation": "x", "message": object{"content": "Hi"}}).wantProblem(404, "not_found", "")
	if n := query[int](o.server, "SELECT count(*) FROM message_history"); n != 0 {
		t.Errorf("%d messages are stored", n)
	}
}

// A stream begins immediately, even if the bot is busy, and delivers each event when it occurs. Nothing buffers
// events until the end.
func TestStreamBeginsBeforeTheReply(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	release := o.blockReplies()
	request := must(o.request(http.MethodPost, completions, object{"isStreaming": true, "message": object{"content": question}}, withHeader("Authorization", "Api-Key "+alice.key)))
	response, err := o.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	run := alice.get("/api/runs/" + response.Header.Get("X-Run-Id") + "/")
	if run["state"] != "running" || run["finishedAt"] != nil {
		t.Errorf("the run: %v", run)
	}
	release()
	lines := bufio.NewScanner(response.Body)
	events := 0
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data: ") {
			events++
		}
	}
	if err := lines.Err(); err != nil || events < 5 {
		t.Errorf("%d events, %v", events, err)
	}
	alice.checkAnswered(text(run, "conversation"), 1)
}

// Concurrent streams in one conversation each receive their own reply.
func TestQueuedStreamsEachGetTheirOwnReply(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	asked := []string{question, "Where is the invoice?", "請問如何申請退款？", "Which payment methods are there?"}
	answers := alice.postConcurrently(len(asked), func(i int) (string, any) {
		return completions, object{"conversation": id, "isStreaming": true, "message": object{"content": asked[i]}}
	})
	for i, got := range answers {
		content, last := checkStream(t, got.events())
		reply := alice.get("/api/messages/" + last["messageId"].(string) + "/")
		run := alice.get("/api/runs/" + last["runId"].(string) + "/")
		if alice.get("/api/messages/" + text(run, "questionId") + "/")["content"] != asked[i] || reply["content"] != content {
			t.Errorf("the reply to %s is %s, the stored message %v", asked[i], content, reply)
		}
	}
	alice.checkAnswered(id, len(asked))
}
