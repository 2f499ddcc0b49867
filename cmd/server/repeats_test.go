package main

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// exchange is a response: its body or, for a stream, its events.
type exchange struct {
	status     int
	isReplayed bool
	run        string
	body       string
	events     []event
}

// exchange sends a request and reads the whole response.
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

// endings are the ways in which a server stops.
var endings = map[string]func(*process){"by SIGTERM": (*process).stop, "by SIGKILL": (*process).kill, "by SIGKILL with its PostgreSQL": (*process).killAll}

// keyedRequest is a request with an Idempotency-Key.
type keyedRequest struct {
	key, path, conversation string
	body                    object
}

func (c client) repeat(request keyedRequest) exchange {
	c.t.Helper()
	return c.with("Idempotency-Key", request.key).exchange("POST", request.path, request.body)
}

// completion returns a completion request in a new conversation.
func (c client) completion(bot, key, content string, isStreaming bool) keyedRequest {
	c.t.Helper()
	id := c.startWith(bot)
	return keyedRequest{key, "/api/chatbots/" + bot + "/completions/", id, object{
		"conversation": id, "isStreaming": isStreaming, "message": object{"content": content},
	}}
}

func TestIdempotencyKeySurvivesRestart(t *testing.T) {
	t.Parallel()
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// given: answered requests with keys
			dir := newDir(t)
			server := serving(t, dir)
			api := server.client(server.key)
			rule, _ := scriptRule("", 3, 20)
			rule["suggestions"] = []object{{"text": "And then?", "context": "then"}}
			api.createScriptedBot("slow", rule)
			const question = "What is Parley?"
			var requests []keyedRequest
			for _, bot := range []string{"slow", "parley"} {
				requests = append(requests, api.completion(bot, "json", question, false), api.completion(bot, "stream", question, true))
				id := api.startWith(bot)
				requests = append(requests, keyedRequest{"sent", "/api/conversations/" + id + "/messages", id, object{"content": question}})
				id = api.startWith(bot)
				requests = append(requests, keyedRequest{"posted-to-" + bot, "/api/messages/", id, object{"conversation": id, "content": question}})
			}
			var firsts []exchange
			for _, request := range requests {
				first := api.repeat(request)
				if first.status/100 != 2 || first.isReplayed {
					t.Fatalf("%+v: %+v", request, first)
				}
				firsts = append(firsts, first)
			}
			for _, request := range requests {
				eventually(t, "the reply is stored", func() bool { return len(api.messages(request.conversation)) == 2 })
			}

			// when: the server stops, and the same requests are sent to the next one
			end(server)
			next := serving(t, dir)
			api = next.client(server.key)

			// then: they receive the same responses, and nothing is stored again
			for range 2 {
				for i, request := range requests {
					checkSame(t, request, firsts[i], api.repeat(request))
				}
			}
			for _, request := range requests {
				if stored := api.messages(request.conversation); len(stored) != 2 {
					t.Errorf("%s: stored %+v", request.path, stored)
				}
				changed := keyedRequest{request.key, request.path, request.conversation, object{"conversation": request.conversation, "content": "x", "message": object{"content": "x"}}}
				if got := api.repeat(changed); got.status != http.StatusUnprocessableEntity {
					t.Errorf("%s with another body: %+v", request.path, got)
				}
			}
			next.stop()
		})
	}
}

// checkSame checks that a replayed response equals the first one. Streams must have the same text and final event.
func checkSame(t *testing.T, request keyedRequest, first, again exchange) {
	t.Helper()
	if again.status != first.status || !again.isReplayed || again.run != first.run || again.body != first.body || len(again.events) == 0 != (len(first.events) == 0) {
		t.Errorf("%s: the first response is\n%+v, the replayed request\n%+v", request.path, first, again)
		return
	}
	if len(first.events) > 0 {
		last, lastAgain := first.events[len(first.events)-1], again.events[len(again.events)-1]
		if textOf(first.events) != textOf(again.events) || last.ID != lastAgain.ID || last.Data != lastAgain.Data {
			t.Errorf("%s: the first stream is\n%+v, the replayed request\n%+v", request.path, first.events, again.events)
		}
	}
}

func TestRetryAfterKillReceivesReply(t *testing.T) {
	t.Parallel()
	// given: replies in progress, and one queued, when the server is killed
	dir := newDir(t)
	server := serving(t, dir)
	api := server.client(server.key)
	rule, text := scriptRule("", 30, 100)
	api.createScriptedBot("slow", rule)
	requests := []keyedRequest{
		api.completion("slow", "json", "one", false),
		api.completion("slow", "stream", "two", true),
		api.completion("slow", "json-too", "three", false),
	}
	queued := keyedRequest{"queued", requests[0].path, requests[0].conversation, object{
		"conversation": requests[0].conversation, "isStreaming": false, "message": object{"content": "four"},
	}}
	all := append(requests, queued)
	interrupted := api.beginAll(all)
	runs := api.runsInProgress(all)
	server.kill()
	for range all {
		if err := <-interrupted; err == nil {
			t.Error("a request succeeded despite the kill")
		}
	}

	// when: the requests are sent again after a restart
	next := serving(t, dir)
	api = next.client(server.key)
	within(t, soon, "the interrupted run is rescued", func() bool { return api.run(runs["json"]).Attempt == 2 })

	// then: each follows its original run to the whole reply
	for _, request := range requests {
		api.checkFollows(request, runs[request.key], 2, text)
	}
	api.checkFollows(queued, runs[queued.key], 1, text)
	for _, request := range requests {
		want := 2
		if request.conversation == queued.conversation {
			want = 4
		}
		if stored := api.messages(request.conversation); len(stored) != want {
			t.Errorf("%s: stored %+v", request.key, stored)
		}
	}
	next.stop()
}

// beginAll sends requests and waits until each question is stored. The channel receives the error of each request.
func (c client) beginAll(requests []keyedRequest) (ended <-chan error) {
	c.t.Helper()
	errs := make(chan error)
	for _, request := range requests {
		go func() {
			_, _, err := c.with("Idempotency-Key", request.key).try("POST", request.path, request.body)
			errs <- err
		}()
		eventually(c.t, "the question is stored", func() bool {
			stored := c.messages(request.conversation)
			return len(stored) > 0 && stored[len(stored)-1].Content == request.body["message"].(object)["content"]
		})
	}
	return errs
}

// runsInProgress returns the runs of requests by key. None of them may have a reply.
func (c client) runsInProgress(requests []keyedRequest) map[string]string {
	c.t.Helper()
	runs := map[string]string{}
	for _, request := range requests {
		stored := c.messages(request.conversation)
		if len(stored) > 2 || stored[0].Type != "incoming" || stored[len(stored)-1].Type != "incoming" {
			c.t.Fatalf("%s has a reply too early: %+v", request.key, stored)
		}
		for _, question := range stored {
			if question.Content == request.body["message"].(object)["content"] {
				runs[request.key] = question.RunID
			}
		}
	}
	return runs
}

// checkFollows checks that a repeated request follows the run to its whole reply, by the given attempt.
func (c client) checkFollows(request keyedRequest, run string, attempt int, text string) {
	c.t.Helper()
	got := c.repeat(request)
	received := textOf(got.events)
	if len(got.events) == 0 {
		received = contentOf(c.t, got.body)
	}
	if got.status != http.StatusOK || !got.isReplayed || got.run != run || received != text {
		c.t.Errorf("%s: %+v, want the run %s", request.key, got, run)
	}
	if run := c.run(got.run); run.State != "completed" || run.Attempt != attempt {
		c.t.Errorf("%s: %+v", request.key, run)
	}
	checkSame(c.t, request, got, c.repeat(request))
}

// contentOf returns the content of a completion.
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
