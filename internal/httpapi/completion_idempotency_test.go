package httpapi_test

import (
	"io"
	"net/http"
	"testing"

	"parley/internal/auth"
)

// countRows returns the number of rows in each table that a completion writes.
func (s *server) countRows() (counts struct{ Conversations, Questions, Replies, Runs int }) {
	s.t.Helper()
	err := s.sql.QueryRow(s.t.Context(), `SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM message_history WHERE sender = 'user'),
		(SELECT count(*) FROM message_history WHERE sender = 'bot'), (SELECT count(*) FROM runs)`).
		Scan(&counts.Conversations, &counts.Questions, &counts.Replies, &counts.Runs)
	if err != nil {
		s.t.Fatal(err)
	}
	return counts
}

// Fifty concurrent completions with one key store one question, and receive the same reply.
func TestConcurrentCompletionsWithOneKeyStoreOneQuestion(t *testing.T) {
	t.Parallel()
	for _, isNew := range []bool{false, true} {
		alice := serve(t).organization().as("alice", auth.Chat)
		body := object{"message": object{"content": question}}
		if !isNew {
			body["conversation"] = alice.startConversation()
		}
		answers := alice.postConcurrently(50, func(int) (string, any) { return completions, body }, withHeader("Idempotency-Key", "k"))
		replayed := 0
		for _, got := range answers {
			got.wantStatus(http.StatusOK)
			if string(got.body) != string(answers[0].body) || got.header.Get("X-Run-Id") != answers[0].header.Get("X-Run-Id") {
				t.Errorf("%s and %s", got.body, answers[0].body)
			}
			if got.header.Get("Idempotency-Replayed") == "true" {
				replayed++
			}
		}
		first := answers[0].json()
		if first["content"] != longAnswer || replayed != 49 {
			t.Errorf("%d responses are replayed, %v", replayed, first)
		}
		if counts := alice.countRows(); counts.Conversations != 1 || counts.Questions != 1 || counts.Replies != 1 || counts.Runs != 1 {
			t.Errorf("the rows are %+v", counts)
		}
		alice.checkAnswered(text(first, "conversationId"), 1)
		// A later repeat is replayed too, also in the other form.
		again := alice.call(http.MethodPost, completions, body, withHeader("Idempotency-Key", "k"))
		if again.wantStatus(http.StatusOK); string(again.body) != string(answers[0].body) || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("the later repeat is %s %s", again.header, again.body)
		}
		body["message"] = object{"content": "another"}
		alice.call(http.MethodPost, completions, body, withHeader("Idempotency-Key", "k")).wantProblem(422, "unprocessable", "")
		if counts := alice.countRows(); counts.Conversations != 1 || counts.Questions != 1 {
			t.Errorf("after the repeats, the rows are %+v", counts)
		}
	}
}

// Repeats of a streamed completion follow the same run, during the reply and afterwards. Each receives the whole
// reply.
func TestRepeatedStreamedCompletionsFollowTheSameRun(t *testing.T) {
	t.Parallel()
	rule, whole := slowRule(30, 10)
	alice, path := scriptedCaller(t, rule)
	key, body := withHeader("Idempotency-Key", "k"), completionBody("Go on", true)
	answers := alice.postConcurrently(20, func(int) (string, any) { return path, body }, key)
	answers = append(answers, alice.call(http.MethodPost, path, body, key))
	run, replayed := answers[0].header.Get("X-Run-Id"), 0
	for i, got := range answers {
		content, last := checkStream(t, got.events())
		if content != whole || last["finishReason"] != "stop" || last["runId"] != run || got.header.Get("X-Run-Id") != run {
			t.Errorf("repeat %d follows the run %s, want %s: %q, %v", i, got.header.Get("X-Run-Id"), run, content, last)
		}
		if got.header.Get("Idempotency-Replayed") == "true" {
			replayed++
		}
	}
	if counts := alice.countRows(); replayed != len(answers)-1 || counts.Runs != 1 || counts.Questions != 1 || counts.Conversations != 1 {
		t.Errorf("%d of %d are replayed, the rows are %+v", replayed, len(answers), counts)
	}
	alice.call(http.MethodPost, path, completionBody("Go on", false), key).wantProblem(422, "unprocessable", "")
	alice.call(http.MethodPost, path, completionBody("Stop", true), key).wantProblem(422, "unprocessable", "")
}

// A repeat that arrives during the reply waits for its end.
func TestRepeatedCompletionWaitsForTheReply(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	key, body := withHeader("Idempotency-Key", "k"), object{"message": object{"content": question}}
	release := o.blockReplies()
	first := alice.postAsync(completions, body, key)
	eventually(t, "the question is stored", func() bool { return alice.countRows().Runs == 1 })
	second := alice.postAsync(completions, body, key)
	select {
	case got := <-second:
		t.Fatalf("the repeat did not wait: %d %s", got.status, got.body)
	case got := <-first:
		t.Fatalf("the bot was not blocked: %d %s", got.status, got.body)
	case <-alice.otherRequestsAnswered():
	}
	release()
	original, repeat := <-first, <-second
	if original.wantStatus(http.StatusOK); string(original.body) != string(repeat.body) || original.header.Get("Idempotency-Replayed") != "" || repeat.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s %s, then %s %s", original.header, original.body, repeat.header, repeat.body)
	}
	if counts := alice.countRows(); counts.Runs != 1 || counts.Replies != 1 {
		t.Errorf("the rows are %+v", counts)
	}
}

// otherRequestsAnswered returns a channel that is closed after the server has answered a few other requests. Anything that it would
// do immediately has happened by then.
func (c caller) otherRequestsAnswered() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10 {
			if _, err := c.tryCall(http.MethodGet, "/api/me/", nil, withHeader("Authorization", "Api-Key "+c.key)); err != nil {
				c.t.Error(err)
			}
		}
	}()
	return done
}

// replyWith changes the reply of the scripted bot.
func (c caller) replyWith(rule object) {
	c.t.Helper()
	c.as("manager", auth.Manage).patch("/api/chatbots/s/", object{"script": object{"rules": []object{rule}}})
}

// Repeating a failed completion under its key asks the stored question again, in either form, in a new or an existing
// conversation. There is one question, with a run and a record for each attempt. After an attempt has succeeded, its
// response is replayed.
func TestRepeatOfAFailedCompletionRetriesTheStoredQuestion(t *testing.T) {
	t.Parallel()
	for _, isStreaming := range []bool{false, true} {
		for _, isNew := range []bool{false, true} {
			alice, path := scriptedCaller(t, object{"deltas": []string{"One ", "moment", "never"}, "failAfter": 2})
			alice.expectFailures()
			key, body := withHeader("Idempotency-Key", "k"), completionBody("Fail", isStreaming)
			if !isNew {
				body["conversation"] = text(alice.post("/api/conversations/start", object{"bot_id": "s"}), "conversation_id")
			}
			runs := map[string]bool{}
			for n := 1; n <= 3; n++ {
				got := alice.call(http.MethodPost, path, body, key)
				if isStreaming {
					_, last := checkStream(t, got.events())
					if problem, _ := last["error"].(object); problem["error"] != "upstream_failed" {
						t.Errorf("the last event is %v", last)
					}
				} else {
					got.wantProblem(502, "upstream_failed", "")
				}
				alice.awaitReplies()
				counts := alice.countRows()
				if counts.Runs != n || counts.Questions != 1 || counts.Conversations != 1 || got.header.Get("Idempotency-Replayed") != "" {
					t.Errorf("after %d attempts the rows are %+v, %v", n, counts, got.header)
				}
				if records := query[int](alice.server, "SELECT count(*) FROM records"); records != n {
					t.Errorf("after %d attempts there are %d records", n, records)
				}
			}
			alice.call(http.MethodPost, path, equivalentBody(body), key).wantProblem(422, "unprocessable", "")
			alice.replyWith(object{"deltas": []string{"Better."}})
			for n := range 3 {
				got := alice.call(http.MethodPost, path, body, key)
				var last object
				if isStreaming {
					var content string
					content, last = checkStream(t, got.events())
					last["content"] = content
				} else {
					last = got.wantStatus(http.StatusOK)
				}
				if last["content"] != "Better." || (got.header.Get("Idempotency-Replayed") == "true") != (n > 0) {
					t.Errorf("%v %v", got.header, last)
				}
				runs[text(last, "runId")] = true
			}
			if counts := alice.countRows(); counts.Runs != 4 || counts.Questions != 1 || len(runs) != 1 {
				t.Errorf("the rows are %+v, and the runs %v", counts, runs)
			}
			// The question refers to the run that answered it.
			asked := query[string](alice.server, "SELECT run_id::text FROM message_history WHERE sender = 'user'")
			if !runs[asked] {
				t.Errorf("the question names the run %s, but was answered by %v", asked, runs)
			}
		}
	}
}

// Concurrent repeats after a failure share one run.
func TestConcurrentRepeatsAfterAFailureShareOneRun(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, object{"deltas": []string{"Oh", "no"}, "failAfter": 1})
	alice.expectFailures()
	key, body := withHeader("Idempotency-Key", "k"), completionBody("Fail", false)
	alice.call(http.MethodPost, path, body, key).wantProblem(502, "upstream_failed", "")
	rule, whole := slowRule(10, 30)
	alice.replyWith(rule)
	firsts, runs := 0, map[any]bool{}
	for _, got := range alice.postConcurrently(20, func(int) (string, any) { return path, body }, key) {
		answered := got.wantStatus(http.StatusOK)
		if answered["content"] != whole {
			t.Errorf("%v", answered)
		}
		if runs[answered["runId"]] = true; got.isExecuted() {
			firsts++
		}
	}
	if counts := alice.countRows(); firsts != 1 || len(runs) != 1 || counts.Runs != 2 || counts.Questions != 1 {
		t.Errorf("%d responses were not replayed, of the runs %v; the rows are %+v", firsts, runs, counts)
	}
}

// Concurrent completions with one key each receive the failure, and one question is stored.
func TestConcurrentFailuresWithOneKeyStoreOneQuestion(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, object{"deltas": []string{"One ", "moment"}, "failAfter": 1, "delayMs": 30})
	alice.expectFailures()
	key := withHeader("Idempotency-Key", "k")
	for _, got := range alice.postConcurrently(20, func(int) (string, any) { return path, completionBody("Fail", false) }, key) {
		got.wantProblem(502, "upstream_failed", "")
	}
	counts := alice.countRows()
	if counts.Questions != 1 || counts.Conversations != 1 || counts.Runs > 20 {
		t.Errorf("the rows are %+v", counts)
	}
	alice.replyWith(object{"deltas": []string{"Better."}})
	if got := alice.call(http.MethodPost, path, completionBody("Fail", false), key).wantStatus(http.StatusOK); got["content"] != "Better." {
		t.Errorf("%v", got)
	}
}

// A repeat after a failure is queued behind the reply in progress, and is refused if the queue is full.
func TestRepeatAfterAFailureIsQueued(t *testing.T) {
	t.Parallel()
	alice, path := scriptedCaller(t, object{"deltas": []string{"Oh", "no"}, "failAfter": 1})
	alice.expectFailures()
	key, body := withHeader("Idempotency-Key", "k"), completionBody("Fail", false)
	id := text(alice.post("/api/conversations/start", object{"bot_id": "s"}), "conversation_id")
	body["conversation"] = id
	alice.call(http.MethodPost, path, body, key).wantProblem(502, "upstream_failed", "")
	alice.awaitReplies()
	alice.replyWith(object{"deltas": []string{"Better."}, "delayMs": 5000})
	for range 21 {
		alice.post("/api/conversations/"+id+"/messages", object{"content": "More"})
	}
	if got := alice.call(http.MethodPost, path, body, key); got.header.Get("Retry-After") == "" {
		t.Errorf("%v", got.header)
	} else {
		got.wantProblem(503, "unavailable", "")
	}
	alice.replyWith(object{"deltas": []string{"Better."}})
	eventually(t, "the queue has a free place", func() bool {
		return query[int](alice.server, "SELECT queued_runs FROM sessions") < 20
	})
	if got := alice.call(http.MethodPost, path, body, key).wantStatus(http.StatusOK); got["content"] != "Better." {
		t.Errorf("%v", got)
	}
	if counts := alice.countRows(); counts.Questions != 22 {
		t.Errorf("the rows are %+v", counts)
	}
}

// A repeat after a failure sends the model the same request as the first one: it omits the text of the failed run.
func TestRepeatAfterAFailureSendsTheModelTheSameRequest(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	o.expectFailures()
	upstream := serveModel(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, `data: {"choices":[{"index":0,"delta":{"content":"Half"}}]}`+"\n\n")
	})
	o.withModel(upstream)
	alice := o.as("alice", auth.Chat)
	var asked [][]object
	for range 2 {
		alice.call(http.MethodPost, completions, completionBody("Hello?", false), withHeader("Idempotency-Key", "k")).wantProblem(502, "upstream_failed", "")
		messages, _ := upstream.last()
		asked = append(asked, messages)
	}
	if !sameJSON(t, asked[0], asked[1]) {
		t.Errorf("the model was sent %v, and then %v", asked[0], asked[1])
	}
}

// A key is scoped to the user and the chatbot of the completion.
func TestCompletionKeysAreScopedToUserAndChatbot(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	path := o.createScriptedBot("s", object{"deltas": []string{"Yes."}})
	runs := map[string]bool{}
	for _, who := range []caller{o.as("alice", auth.Chat), o.as("bob", auth.Chat)} {
		for _, at := range []string{completions, path} {
			got := who.call(http.MethodPost, at, completionBody("Hi", false), withHeader("Idempotency-Key", "k"))
			got.wantStatus(http.StatusOK)
			runs[got.header.Get("X-Run-Id")] = true
			if got.header.Get("Idempotency-Replayed") != "" {
				t.Errorf("%s: another response is replayed", at)
			}
		}
	}
	if len(runs) != 4 {
		t.Errorf("there are the runs %v", runs)
	}
}
