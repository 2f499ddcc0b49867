package main

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// exchange is the answer to a request, of a stream its events.
type exchange struct {
	status     int
	isReplayed bool
	run        string
	body       string
	events     []event
}

// exchange sends a request and reads the whole answer.
func (c client) exchange(method, path string, body any) exchange {
	c.t.Helper()
	answer, err := c.open(method, path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	got := exchange{status: answer.StatusCode, isReplayed: answer.Header.Get("Idempotency-Replayed") == "true", run: answer.Header.Get("X-Run-Id")}
	if answer.Header.Get("Content-Type") == "text/event-stream" {
		got.events = readEvents(c.t, answer.Body)
		return got
	}
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	got.body = string(content)
	return got
}

// endings are the ways in which a server may end.
var endings = map[string]func(*process){"by SIGTERM": (*process).stop, "by SIGKILL": (*process).kill, "with its PostgreSQL": (*process).killAll}

// keyed is a request with an Idempotency-Key, the only one in its conversation.
type keyed struct {
	key, path, conversation string
	body                    object
}

func (c client) repeat(one keyed) exchange {
	c.t.Helper()
	return c.with("Idempotency-Key", one.key).exchange("POST", one.path, one.body)
}

// completion asks a bot in a conversation of its own.
func (c client) completion(bot, key, content string, isStreaming bool) keyed {
	c.t.Helper()
	id := c.startWith(bot)
	return keyed{key, "/api/chatbots/" + bot + "/completions/", id, object{
		"conversation": id, "isStreaming": isStreaming, "message": object{"content": content},
	}}
}

func TestAnIdempotencyKeyOutlivesTheServer(t *testing.T) {
	t.Parallel()
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// given requests with keys that were answered
			dir := newDir(t)
			server := serving(t, dir)
			asked := server.client(server.key)
			rule, _ := says("", 3, 20)
			rule["suggestions"] = []object{{"text": "And then?", "context": "then"}}
			asked.scripted("slow", rule)
			const question = "What is Parley?"
			var requests []keyed
			for _, bot := range []string{"slow", "parley"} {
				requests = append(requests, asked.completion(bot, "json", question, false), asked.completion(bot, "stream", question, true))
				id := asked.startWith(bot)
				requests = append(requests, keyed{"sent", "/api/conversations/" + id + "/messages", id, object{"content": question}})
				id = asked.startWith(bot)
				requests = append(requests, keyed{"posted-to-" + bot, "/api/messages/", id, object{"conversation": id, "content": question}})
			}
			var firsts []exchange
			for _, one := range requests {
				first := asked.repeat(one)
				if first.status/100 != 2 || first.isReplayed {
					t.Fatalf("%+v is answered with %+v", one, first)
				}
				firsts = append(firsts, first)
			}
			for _, one := range requests {
				eventually(t, "the answer", func() bool { return len(asked.messages(one.conversation)) == 2 })
			}

			// when the server ends, and the same requests are sent to the next one
			end(server)
			next := serving(t, dir)
			asked = next.client(server.key)

			// then they get the same answers, and nothing is stored again
			for range 2 {
				for i, one := range requests {
					checkSame(t, one, firsts[i], asked.repeat(one))
				}
			}
			for _, one := range requests {
				if stored := asked.messages(one.conversation); len(stored) != 2 {
					t.Errorf("%s: stored are %+v", one.path, stored)
				}
				changed := keyed{one.key, one.path, one.conversation, object{"conversation": one.conversation, "content": "x", "message": object{"content": "x"}}}
				if got := asked.repeat(changed); got.status != http.StatusUnprocessableEntity {
					t.Errorf("%s with another body is answered with %+v", one.path, got)
				}
			}
			next.stop()
		})
	}
}

// checkSame checks that an answer is the first one's: byte by byte, or as the stream of the
// same text and end.
func checkSame(t *testing.T, one keyed, first, again exchange) {
	t.Helper()
	if again.status != first.status || !again.isReplayed || again.run != first.run || again.body != first.body || len(again.events) == 0 != (len(first.events) == 0) {
		t.Errorf("%s was answered with\n%+v, is answered with\n%+v", one.path, first, again)
		return
	}
	if len(first.events) > 0 {
		last, lastAgain := first.events[len(first.events)-1], again.events[len(again.events)-1]
		if textOf(first.events) != textOf(again.events) || last.ID != lastAgain.ID || last.Data != lastAgain.Data {
			t.Errorf("%s was streamed as\n%+v, is streamed as\n%+v", one.path, first.events, again.events)
		}
	}
}

func TestARepeatOfWhatAKillInterruptedGetsTheAnswer(t *testing.T) {
	t.Parallel()
	// given replies that are being written when the server is killed, one of them behind another
	dir := newDir(t)
	server := serving(t, dir)
	asked := server.client(server.key)
	rule, text := says("", 30, 100)
	asked.scripted("slow", rule)
	requests := []keyed{
		asked.completion("slow", "json", "one", false),
		asked.completion("slow", "stream", "two", true),
		asked.completion("slow", "json-too", "three", false),
	}
	behind := keyed{"behind", requests[0].path, requests[0].conversation, object{
		"conversation": requests[0].conversation, "isStreaming": false, "message": object{"content": "four"},
	}}
	interrupted := make(chan error)
	begin := func(one keyed) {
		go func() {
			_, _, err := asked.with("Idempotency-Key", one.key).try("POST", one.path, one.body)
			interrupted <- err
		}()
		eventually(t, "the question", func() bool {
			stored := asked.messages(one.conversation)
			return len(stored) > 0 && stored[len(stored)-1].Content == one.body["message"].(object)["content"]
		})
	}
	for _, one := range requests {
		begin(one)
	}
	begin(behind)
	runs := map[string]string{} // by key
	for _, one := range append(requests, behind) {
		stored := asked.messages(one.conversation)
		if len(stored) > 2 || stored[0].Type != "incoming" || stored[len(stored)-1].Type != "incoming" {
			t.Fatalf("%s is answered too soon: %+v", one.key, stored)
		}
		runs[one.key] = stored[0].RunID
		if one.key == behind.key {
			runs[one.key] = stored[1].RunID
		}
	}
	server.kill()
	for range len(requests) + 1 {
		if err := <-interrupted; err == nil {
			t.Error("a request was answered all the same")
		}
	}

	// when the requests are repeated after the next start
	next := serving(t, dir)
	asked = next.client(server.key)
	within(t, soon, "the taking up of what was interrupted", func() bool { return asked.run(runs["json"]).Attempt == 2 })

	// then each follows the run of the first, to the whole answer
	for i, one := range append(requests, behind) {
		attempt := 2
		if one.key == behind.key {
			attempt = 1
		}
		got := asked.repeat(one)
		told := textOf(got.events)
		if len(got.events) == 0 {
			told = contentOf(t, got.body)
		}
		if got.status != http.StatusOK || !got.isReplayed || got.run != runs[one.key] || told != text {
			t.Errorf("%d, %s: %+v, not the run %s", i, one.key, got, runs[one.key])
		}
		if run := asked.run(got.run); run.State != "completed" || run.Attempt != attempt {
			t.Errorf("%s: %+v", one.key, run)
		}
		checkSame(t, one, got, asked.repeat(one))
	}
	for _, one := range requests {
		want := 2
		if one.conversation == behind.conversation {
			want = 4
		}
		if stored := asked.messages(one.conversation); len(stored) != want {
			t.Errorf("%s: stored are %+v", one.key, stored)
		}
	}
	next.stop()
}

// contentOf is the content of a completion's JSON answer.
func contentOf(t *testing.T, body string) string {
	t.Helper()
	var completion struct {
		Content string
		Done    bool
	}
	if err := json.Unmarshal([]byte(body), &completion); err != nil || !completion.Done {
		t.Errorf("%v: %s", err, body)
	}
	return completion.Content
}
