package httpapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/internal/auth"
)

// A run has its message, its state and the time of each state.
func TestRunsReportTheirState(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	release := o.blockReplies()
	sent := alice.sendMessage(id, question)
	path := "/api/runs/" + text(sent, "run_id") + "/"
	run := alice.get(path)
	want := []string{"attempt", "conversation", "createdAt", "error", "finishReason", "finishedAt", "firstTokenAt", "id", "messageId", "model", "questionId", "startedAt", "state", "usage"}
	if fields := slices.Sorted(maps.Keys(run)); !slices.Equal(fields, want) {
		t.Errorf("the fields are %v", fields)
	}
	switch {
	case run["state"] != "running", run["conversation"] != id, run["questionId"] != sent["message_id"], number(run, "attempt") != 1,
		run["finishReason"] != nil, run["error"] != nil, run["startedAt"] == nil, run["firstTokenAt"] != nil, run["finishedAt"] != nil:
		t.Errorf("%v", run)
	}
	// The ID of the reply is known before the reply is stored.
	alice.call(http.MethodGet, "/api/messages/"+text(run, "messageId")+"/", nil).wantProblem(404, "not_found", "")
	release()
	run = alice.awaitRun(text(sent, "run_id"))
	times := []string{text(run, "createdAt"), text(run, "startedAt"), text(run, "firstTokenAt"), text(run, "finishedAt")}
	if run["state"] != "completed" || run["finishReason"] != "stop" || !slices.IsSorted(times[1:]) {
		t.Errorf("%v", run)
	}
	if got := alice.get("/api/messages/" + text(run, "messageId") + "/"); got["runId"] != run["id"] {
		t.Errorf("%v", got)
	}
}

// Each finished exchange stores one record, with the ID of the run.
func TestEachExchangeStoresOneRecord(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	first := alice.ask(id, question)
	second := alice.call(http.MethodPost, completions, object{"conversation": id, "message": object{"content": "something else entirely"}}).wantStatus(200)
	alice.post("/api/messages/", object{"conversation": id}) // starts no reply and has no record
	for run, want := range map[string]string{
		text(first, "run_id"): "New|completed|" + question + "|" + longAnswer + "|" + question + "\n\n" + longAnswer,
		text(second, "runId"): "Follow|completed|something else entirely|" + noAnswer + "|",
	} {
		got := query[string](o.server, `SELECT concat_ws('|', type, status, input_message, output_message, context) FROM records WHERE id = $1
			AND session_id = $2 AND bot_id = $3 AND organization_id = $4 AND error IS NULL AND feedback IS NULL AND condense_message = ''
			AND reply_id = (SELECT id FROM message_history WHERE run_id = $1 AND sender = 'bot')
			AND asked_at = (SELECT created_at FROM message_history WHERE run_id = $1 AND sender = 'user')
			AND created_at = (SELECT finished_at FROM runs WHERE id = $1)
			AND first_token_time > 0 AND reply_time >= first_token_time AND reply_time < 60
			AND abs(reply_time - extract(epoch FROM created_at - asked_at)) < 0.001`, run, id, o.bot.ID, o.id)
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	alice.checkRecords(id, 2)
}

// A run with an expired lease is reclaimed. The previous attempt can no longer store a reply, and the question is
// answered once.
func TestExpiredLeaseIsReclaimedAndAnsweredOnce(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	release := o.blockReplies()
	sent := alice.sendMessage(id, question)
	alice.sendMessage(id, "Where is the invoice?") // queued behind it
	path := "/api/runs/" + text(sent, "run_id") + "/"
	eventually(t, "the run is reclaimed", func() bool {
		// Repeat the update, because the current attempt renews its lease.
		o.exec("UPDATE runs SET lease_until = clock_timestamp() - interval '1 second' WHERE id = $1 AND attempt = 1", sent["run_id"])
		return number(alice.get(path), "attempt") == 2
	})
	release() // both attempts reply now
	alice.checkAnswered(id, 2)
	if run := alice.get(path); number(run, "attempt") != 2 || run["state"] != "completed" {
		t.Errorf("%v", run)
	}
}

// The next server reclaims the running and queued runs of a dead one.
func TestRunsOfACrashedServerAreReclaimed(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	running := alice.createAbandonedRun(id, question, "running", 1)
	queued := alice.createAbandonedRun(id, "Where is the invoice?", "queued", 1)
	o.exec("UPDATE sessions SET active_run = $1, queued_runs = 1 WHERE id = $2", running, id)
	if run := alice.awaitRun(running); run["state"] != "completed" || number(run, "attempt") != 2 {
		t.Errorf("the formerly running run: %v", run)
	}
	if run := alice.awaitRun(queued); run["state"] != "completed" || number(run, "attempt") != 1 {
		t.Errorf("the formerly queued run: %v", run)
	}
	alice.checkAnswered(id, 2)
}

// A queue whose server crashed between two runs is resumed by another instance.
func TestQueueOfACrashedServerIsResumed(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	finished := alice.createAbandonedRun(id, question, "completed", 1)
	for i := range 3 {
		alice.createAbandonedRun(id, fmt.Sprint("question ", i), "queued", 1)
	}
	o.exec("UPDATE sessions SET active_run = $1, queued_runs = 3 WHERE id = $2", finished, id)
	eventually(t, "all runs have ended", func() bool {
		return query[int](o.server, "SELECT count(*) FROM runs WHERE session_id = $1 AND state = 'completed'", id) == 4
	})
	history := alice.history(id)
	if len(history) != 7 || !query[bool](o.server, "SELECT active_run IS NULL AND queued_runs = 0 FROM sessions WHERE id = $1", id) {
		t.Errorf("%v", history)
	}
}

// createAbandonedRun stores a question and a run that no instance works on.
func (c caller) createAbandonedRun(conversation, content, state string, attempt int) string {
	c.t.Helper()
	sent := c.sendMessage(conversation, content)
	return query[string](c.server, `WITH asked AS (UPDATE message_history SET run_id = gen_random_uuid() WHERE id = $1 RETURNING *)
		INSERT INTO runs (organization_id, id, session_id, question_id, question_seq, reply_id, state, attempt, lease_until, started_at, finished_at, finish_reason)
		SELECT organization_id, run_id, session_id, id, seq, gen_random_uuid(), $2, $3, clock_timestamp() - interval '1 second',
			CASE WHEN $2 <> 'queued' THEN created_at END, CASE WHEN $2 = 'completed' THEN clock_timestamp() END, CASE WHEN $2 = 'completed' THEN 'stop' END
		FROM asked RETURNING id::text`, sent["message_id"], state, attempt)
}

// A run that interrupts its server each time fails after three attempts, and so does its record. The questions behind
// it are answered.
func TestRunFailsAfterThreeInterruptedAttempts(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false})
	tried := alice.createAbandonedRun(id, question, "running", 3)
	queued := alice.createAbandonedRun(id, question, "queued", 1)
	o.exec("UPDATE sessions SET active_run = $1, queued_runs = 1 WHERE id = $2", tried, id)
	run := alice.awaitRun(tried)
	failure, _ := run["error"].(object)
	if run["state"] != "failed" || run["finishReason"] != "error" || failure["error"] != "internal" || !strings.Contains(text(failure, "detail"), "interrupted") {
		t.Fatalf("%v", run)
	}
	if run := alice.awaitRun(queued); run["state"] != "completed" {
		t.Errorf("the run behind it: %v", run)
	}
	if got := query[string](o.server, "SELECT status || '|' || type || '|' || output_message || '|' || error FROM records WHERE id = $1", tried); got != "failed|New||"+text(failure, "detail") {
		t.Errorf("the record: %s", got)
	}
	if history := alice.history(id); len(history) != 3 || history[2]["content"] != longAnswer {
		t.Errorf("%v", history)
	}
}

// When a bot fails, waiting callers receive a problem without internal details. The run and the record are failed,
// and the conversation continues.
func TestEngineFailuresExposeNoInternals(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	o.expectFailures()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	o.exec("ALTER TABLE faqs RENAME TO gone")
	body := object{"conversation": id, "message": object{"content": question}}
	plain := alice.call(http.MethodPost, completions, body).wantProblem(500, "internal", "")
	_, last := checkStream(t, alice.stream(body).events())
	problem := last["error"].(object)
	sent := alice.ask(id, question)
	o.exec("ALTER TABLE gone RENAME TO faqs")
	run := alice.get("/api/runs/" + text(sent, "run_id") + "/")
	failure, _ := run["error"].(object)
	if last["finishReason"] != "error" || problem["error"] != "internal" || run["state"] != "failed" || run["finishReason"] != "error" || failure["error"] != "internal" {
		t.Errorf("the last event %v, the run %v", last, run)
	}
	for _, detail := range []any{plain["detail"], problem["detail"], failure["detail"]} {
		if detail != "The bot could not answer." {
			t.Errorf("the detail is %q", detail)
		}
	}
	if n := query[int](o.server, "SELECT count(*) FROM records WHERE status = 'failed' AND reply_id IS NULL AND output_message = '' AND error IS NOT NULL"); n != 3 {
		t.Errorf("%d failed records", n)
	}
	if history := alice.history(id); len(history) != 3 {
		t.Errorf("%v", history)
	}
	alice.ask(id, question)
	if history := alice.history(id); len(history) != 5 || history[4]["content"] != longAnswer {
		t.Errorf("the next completion: %v", history)
	}
}

// A waiter gets the outcome of a reply that another process has written.
func TestWaitersReceiveRepliesOfOtherInstances(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	release := o.blockReplies()
	answered := make(chan answer, 1)
	go func() {
		got, _ := o.tryCall(http.MethodPost, completions, object{"conversation": id, "isStreaming": true, "message": object{"content": question}}, withHeader("Authorization", "Api-Key "+alice.key))
		answered <- got
	}()
	eventually(t, "the question is stored", func() bool { return len(alice.history(id)) == 1 })
	// The other instance has reclaimed the run and finished it.
	o.exec(`WITH run AS (UPDATE runs SET state = 'completed', attempt = 2, finish_reason = 'stop', finished_at = clock_timestamp() RETURNING *),
		session AS (UPDATE sessions SET last_seq = 2, active_run = NULL)
		INSERT INTO message_history (organization_id, id, session_id, seq, sender, content, run_id, created_at)
		SELECT organization_id, reply_id, session_id, 2, 'bot', 'written elsewhere', id, clock_timestamp() FROM run`)
	select {
	case got := <-answered:
		content, last := checkStream(t, got.events())
		if content != "written elsewhere" || last["finishReason"] != "stop" {
			t.Errorf("%q, %v", content, last)
		}
	case <-time.After(20 * time.Second):
		t.Error("the stream does not end")
	}
	release()
	// The reply that was started here is discarded.
	alice.ask(id, "Hi")
	if history := alice.history(id); len(history) != 4 {
		t.Errorf("%v", history)
	}
}
