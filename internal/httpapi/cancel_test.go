package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"parley/internal/auth"
)

// A cancelled reply stops within a second. Its partial text is kept, and every listener receives the same events.
func TestCancelledReplyKeepsItsPartialText(t *testing.T) {
	t.Parallel()
	rule, whole := slowRule(1000, 20)
	alice, path := scriptedCaller(t, rule)
	first := alice.listen(path, completionBody("Go on", true))
	for range 5 {
		first.next()
	}
	second := alice.follow(first.run, "")
	began := time.Now()
	run := alice.cancel(first.run)
	content, last := checkStream(t, first.rest())
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if run["id"] != first.run || run["state"] != "cancelled" || run["finishReason"] != "cancelled" || run["error"] != nil || run["finishedAt"] == nil || run["firstTokenAt"] == nil {
		t.Errorf("%v", run)
	}
	other, otherLast := checkStream(t, second.rest())
	stored := alice.storedReply(first.run)
	if !strings.HasPrefix(whole, content) || content == whole || other != content || stored["content"] != content || stored["type"] != "outgoing" {
		t.Errorf("streamed %q and %q, stored %v", content, other, stored)
	}
	if last["finishReason"] != "cancelled" || last["error"] != nil || !equalJSON(last, otherLast) {
		t.Errorf("the last events are %v and %v", last, otherLast)
	}
	if shown := alice.history(text(run, "conversation")); len(shown) != 2 || shown[1]["content"] != content {
		t.Errorf("%v", shown)
	}
	alice.wantCancelledRecord(first.run, content)
	// The conversation can be continued.
	again := alice.listen(path, object{"conversation": run["conversation"], "message": object{"content": "Go on"}, "isStreaming": true})
	again.next()
	alice.cancel(again.run)
	alice.checkRecords(text(run, "conversation"), 2)
}

// wantCancelledRecord checks that list, export and statistics have one cancelled record of the run, with that reply.
func (c caller) wantCancelledRecord(run, reply string) {
	c.t.Helper()
	path := "/api/chatbots/s/records/"
	records := objects(c.get(path+withDays("")), "results")
	if len(records) != 1 || records[0]["id"] != run || records[0]["status"] != "cancelled" || records[0]["outputMessage"] != reply || records[0]["error"] != nil {
		c.t.Errorf("the records are %v", records)
	}
	rows := c.exportRowsFrom(path + "export-excel/" + withDays(""))
	if len(rows) != 2 || rows[1][0] != run || rows[1][5] != reply {
		c.t.Errorf("the export is %v", rows)
	}
	totals := c.get("/api/chatbots/s/statistics/" + withDays(""))["totals"].(object)
	if number(totals, "records") != 1 || number(totals, "failures") != 0 {
		c.t.Errorf("the totals are %v", totals)
	}
}

// Some model servers state the usage with each chunk. What a cancelled reply used until then is not lost.
func TestCancelledReplyKeepsItsModelAndUsage(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.withModel(serveModel(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `data: {"model":"small-1","choices":[{"index":0,"delta":{"content":"Good"}}],"usage":{"prompt_tokens":12,"completion_tokens":1}}`+"\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	stream := admin.listen(completions, completionBody("Go on", true))
	stream.next()
	admin.cancel(stream.run)
	stream.rest()
	records := objects(admin.get("/api/chatbots/parley/records/"+withDays("")), "results")
	if len(records) != 1 || records[0]["status"] != "cancelled" || records[0]["model"] == nil {
		t.Fatalf("the records are %v", records)
	}
	if usage := records[0]["usage"].(object); number(usage, "promptTokens") != 12 || number(usage, "completionTokens") != 1 {
		t.Errorf("the usage is %v", usage)
	}
}

// A reply that is cancelled before its first text stores no message, but a record. The JSON response has an empty
// content.
func TestReplyCancelledBeforeItsFirstTextStoresNoMessage(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, silentRule(""))
	id := alice.startConversationWith("s")
	waiter := alice.postAsync(path, object{"conversation": id, "message": object{"content": "Hi"}})
	var run string
	eventually(t, "the question is stored", func() bool {
		run = query[string](alice.server, "SELECT coalesce(min(id::text), '') FROM runs WHERE session_id = $1", id)
		return run != ""
	})
	stream := alice.follow(run, "")
	began := time.Now()
	alice.cancel(run)
	got := (<-waiter).wantStatus(http.StatusOK)
	if took := time.Since(began); took > time.Second {
		t.Errorf("cancelling a silent bot took %v", took)
	}
	if content, last := checkStream(t, stream.rest()); content != "" || last["finishReason"] != "cancelled" {
		t.Errorf("streamed %q, %v", content, last)
	}
	if got["content"] != "" || got["finishReason"] != "cancelled" || got["runId"] != run {
		t.Errorf("answered %v", got)
	}
	alice.call(http.MethodGet, "/api/messages/"+text(got, "messageId")+"/", nil).wantProblem(404, "not_found", "")
	if shown := alice.history(id); len(shown) != 1 {
		t.Errorf("%v", shown)
	}
	alice.wantCancelledRecord(run, "")
	if query[bool](alice.server, "SELECT reply_id IS NOT NULL FROM records WHERE id = $1", run) {
		t.Error("the record names a reply that does not exist")
	}
}

// postAsync sends a POST in the background and returns a channel for its response.
func (c caller) postAsync(path string, body object, options ...option) <-chan answer {
	c.t.Helper()
	answered := make(chan answer, 1)
	go func() {
		got, err := c.tryCall(http.MethodPost, path, body, append([]option{withHeader("Authorization", "Api-Key "+c.key)}, options...)...)
		if err != nil {
			c.t.Error(err)
		}
		answered <- got
	}()
	return answered
}

// A queued run that is cancelled never starts. The runs behind it keep their order.
func TestCancelledQueuedRunNeverStarts(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, silentRule("silence", "Ah"), object{"deltas": []string{"Yes."}})
	id := alice.startConversationWith("s")
	first := alice.listen(path, object{"conversation": id, "message": object{"content": "silence"}, "isStreaming": true})
	first.next()
	var waiting []string
	for i := range 4 {
		waiting = append(waiting, text(alice.sendMessage(id, fmt.Sprint("question ", i)), "run_id"))
	}
	key := withHeader("Idempotency-Key", "k")
	body := object{"conversation": id, "message": object{"content": "Never mind"}}
	waiter := alice.postAsync(path, body, key)
	var doomed string
	eventually(t, "the run is queued", func() bool {
		doomed = query[string](alice.server, "SELECT coalesce(min(id::text) FILTER (WHERE question_seq = 6), '') FROM runs WHERE session_id = $1", id)
		return doomed != ""
	})
	after := text(alice.sendMessage(id, "And then?"), "run_id")
	stream := alice.follow(waiting[1], "")
	for _, run := range []string{waiting[1], doomed} {
		if got := alice.cancel(run); got["state"] != "cancelled" || got["finishReason"] != "cancelled" || got["startedAt"] != nil || got["firstTokenAt"] != nil || got["finishedAt"] == nil {
			t.Errorf("%v", got)
		}
	}
	if got := (<-waiter).wantStatus(http.StatusOK); got["finishReason"] != "cancelled" || got["content"] != "" || got["runId"] != doomed {
		t.Errorf("the cancelled queued request received %v", got)
	}
	if content, last := checkStream(t, stream.rest()); content != "" || last["finishReason"] != "cancelled" {
		t.Errorf("streamed %q, %v", content, last)
	}
	if left := query[int](alice.server, "SELECT queued_runs FROM sessions WHERE id = $1", id); left != 4 {
		t.Errorf("%d runs are queued", left)
	}
	alice.cancel(first.run)
	for _, run := range []string{waiting[0], waiting[2], waiting[3], after} {
		if got := alice.awaitRun(run); got["state"] != "completed" {
			t.Errorf("%v", got)
		}
	}
	order := query[string](alice.server, `SELECT string_agg(state || ' ' || question_seq, ', ' ORDER BY coalesce(started_at, finished_at)) FROM runs
		WHERE session_id = $1 AND state <> 'cancelled'`, id)
	if order != "completed 2, completed 4, completed 5, completed 7" {
		t.Errorf("the order is %s", order)
	}
	if !query[bool](alice.server, "SELECT active_run IS NULL AND queued_runs = 0 AND exchanges = 7 AND user_unread = 5 FROM sessions WHERE id = $1", id) {
		t.Error("the conversation's counters are wrong")
	}
	alice.checkRecords(id, 7)
	// A repeat under its key returns the cancelled reply again.
	if got := alice.call(http.MethodPost, path, body, key).wantStatus(http.StatusOK); got["finishReason"] != "cancelled" || got["runId"] != doomed {
		t.Errorf("the repeat is %v", got)
	}
}

// Cancelling a finished or cancelled run changes nothing and succeeds, with or without an Idempotency-Key.
func TestCancelIsIdempotentAndIgnoresFinishedRuns(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, silentRule("silence", "Ah"), object{"match": "fail", "deltas": []string{"Oh"}, "failAfter": 1}, object{"deltas": []string{"Yes."}})
	for asked, state := range map[string]string{"Speak": "completed", "fail": "failed", "silence": "cancelled"} {
		l := alice.listen(path, completionBody(asked, true))
		l.next()
		if state == "cancelled" {
			alice.cancel(l.run)
		}
		l.rest()
		before, run := alice.snapshot(), alice.awaitRun(l.run)
		if run["state"] != state {
			t.Errorf("%v", run)
		}
		began := time.Now()
		for range 2 {
			if got := alice.cancel(l.run); !equalJSON(got, run) {
				t.Errorf("after the cancel, %v became %v", run, got)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		if after := alice.snapshot(); after != before {
			t.Errorf("%s: the data changed from\n%s\nto\n%s", state, before, after)
		}
		for range 2 {
			got := alice.call(http.MethodPost, "/api/runs/"+l.run+"/cancel/", nil, withHeader("Idempotency-Key", "k")).wantStatus(http.StatusOK)
			if !equalJSON(got, run) {
				t.Errorf("with a key, %v is then %v", run, got)
			}
		}
	}
}

// Concurrent cancels all report the cancelled run, and it is cancelled once.
func TestConcurrentCancelsSucceed(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, silentRule("", "Ah"))
	l := alice.listen(path, completionBody("silence", true))
	l.next()
	for _, got := range alice.postConcurrently(20, func(int) (string, any) { return "/api/runs/" + l.run + "/cancel/", nil }) {
		if run := got.wantStatus(http.StatusOK); run["state"] != "cancelled" {
			t.Errorf("%v", run)
		}
	}
	if content, _ := checkStream(t, l.rest()); content != "Ah" {
		t.Errorf("the reply is %q", content)
	}
	alice.wantCancelledRecord(l.run, "Ah")
}

// An agent may cancel the runs of others. A user without the scope is refused before anything stops.
func TestCancelRequiresOwnershipOrTheScopeAgent(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, silentRule("", "Ah"))
	bob, agent := alice.as("bob", auth.Chat), alice.as("agent", auth.Agent)
	stranger := alice.server.organization().as("stranger", auth.Admin)
	l := alice.listen(path, completionBody("silence", true))
	l.next()
	for _, way := range [][2]string{{http.MethodPost, "cancel"}, {http.MethodGet, "events"}} {
		target := "/api/runs/" + l.run + "/" + way[1] + "/"
		bob.call(way[0], target, nil).wantProblem(403, "forbidden", "")
		stranger.call(way[0], target, nil).wantProblem(404, "not_found", "")
	}
	if run := alice.get("/api/runs/" + l.run + "/"); run["state"] != "running" {
		t.Errorf("%v", run)
	}
	watching := agent.follow(l.run, "?after=1.1")
	if run := agent.cancel(l.run); run["state"] != "cancelled" {
		t.Errorf("%v", run)
	}
	if content, last := checkResumedStream(t, "A", watching.rest()); content != "Ah" || last["finishReason"] != "cancelled" {
		t.Errorf("the staff received %q, %v", content, last)
	}
	checkStream(t, l.rest())
}
