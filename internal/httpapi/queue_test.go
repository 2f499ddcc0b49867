package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/internal/auth"
)

// checkAnswered waits until all questions are answered, and then checks the rules of the queue: every question is
// answered once and in order, seq has no gaps, times increase, and only one run was in progress at a time.
func (c caller) checkAnswered(conversation string, questions int) {
	c.t.Helper()
	eventually(c.t, "no run is queued or running", func() bool {
		return query[int](c.server, "SELECT count(*) FROM runs WHERE session_id = $1 AND state = 'completed'", conversation) == questions
	})
	var messages []object
	for hasMore := true; hasMore; {
		page := c.get(fmt.Sprintf("/api/conversations/%s/history?limit=100&after_seq=%d", conversation, len(messages)))
		messages = append(messages, objects(page, "messages")...)
		hasMore = page["has_more"].(bool)
	}
	if len(messages) != 2*questions {
		c.t.Errorf("there are %d messages, want %d", len(messages), 2*questions)
	}
	answered := 0
	var asked []string
	for i, message := range messages {
		if number(message, "seq") != i+1 {
			c.t.Errorf("message %d has the seq %v", i+1, message["seq"])
		}
		if i > 0 && text(message, "timestamp") <= text(messages[i-1], "timestamp") {
			c.t.Errorf("message %d has the time %v, the message before %v", i+1, message["timestamp"], messages[i-1]["timestamp"])
		}
		run := query[string](c.server, "SELECT run_id::text FROM message_history WHERE id = $1", message["id"])
		if message["sender"] == "user" {
			asked = append(asked, run)
			continue
		}
		if answered >= len(asked) || asked[answered] != run {
			c.t.Fatalf("reply %d answers %s, the questions are %v", answered+1, run, asked)
		}
		answered++
	}
	if overlaps := query[int](c.server, `SELECT count(*) FROM runs a JOIN runs b ON a.session_id = b.session_id AND a.question_seq < b.question_seq
		WHERE a.session_id = $1 AND b.started_at < a.finished_at`, conversation); overlaps != 0 {
		c.t.Errorf("%d runs started before an earlier one ended", overlaps)
	}
	if left := query[bool](c.server, "SELECT active_run IS NULL AND queued_runs = 0 FROM sessions WHERE id = $1", conversation); !left {
		c.t.Errorf("the conversation still has a queue")
	}
	c.checkRecords(conversation, questions)
}

// checkRecords checks that there is one record for each exchange, the first one New and the others Follow.
func (c caller) checkRecords(conversation string, exchanges int) {
	c.t.Helper()
	got := query[string](c.server, "SELECT coalesce(string_agg(type, ' ' ORDER BY created_at), '') FROM records WHERE session_id = $1", conversation)
	want := strings.TrimSpace("New " + strings.Repeat("Follow ", exchanges-1))
	if got != want {
		c.t.Errorf("the records are %s, want %s", got, want)
	}
}

// During a reply, 20 more questions can be queued. The next one is refused in every operation, with Retry-After. Then
// all are answered in order.
func TestConversationQueueHoldsTwentyQuestions(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat, auth.Agent)
	id := alice.startConversation()
	release := o.blockReplies()
	for i := range 21 {
		sent := alice.sendMessage(id, fmt.Sprint("question ", i))
		state := alice.get("/api/runs/" + text(sent, "run_id") + "/")
		if want := map[bool]string{true: "running", false: "queued"}[i == 0]; state["state"] != want || (i > 0) != (state["startedAt"] == nil) {
			t.Errorf("run %d: %v", i, state)
		}
	}
	for _, got := range []answer{
		alice.call(http.MethodPost, "/api/conversations/"+id+"/messages", object{"content": "one too many"}),
		alice.call(http.MethodPost, "/api/messages/", object{"conversation": id, "content": "one too many"}),
		alice.call(http.MethodPost, "/api/chatbots/parley/completions/", object{"conversation": id, "message": object{"content": "one too many"}}),
		alice.call(http.MethodPost, "/api/chatbots/parley/completions/", object{"conversation": id, "isStreaming": true, "message": object{"content": "one too many"}}),
	} {
		problem := got.wantProblem(503, "unavailable", "")
		if got.header.Get("Retry-After") == "" || problem["retryable"] != true {
			t.Errorf("%v, Retry-After %q", problem, got.header.Get("Retry-After"))
		}
	}
	// Messages that are not for the bot are not queued, and other conversations are not delayed.
	alice.post("/api/messages/", object{"conversation": id})
	alice.remove("/api/conversations/" + alice.startConversation() + "/")
	shown := alice.history(id)
	if len(shown) != 22 {
		t.Errorf("%d messages are stored", len(shown))
	}
	alice.exec("DELETE FROM message_history WHERE id = $1", shown[21]["id"])
	alice.exec("UPDATE sessions SET last_seq = 21 WHERE id = $1", id)
	release()
	alice.checkAnswered(id, 21)
	alice.ask(id, "and one more")
	alice.checkAnswered(id, 22)
}

// Deleting a conversation deletes its queue. The bot continues with other conversations.
func TestConversationWithQueuedQuestionsCanBeDeleted(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id, other := alice.startConversation(), alice.startConversation()
	release := o.blockReplies()
	for range 3 {
		alice.sendMessage(id, question)
	}
	alice.sendMessage(other, question)
	alice.remove("/api/conversations/" + id + "/")
	release()
	alice.checkAnswered(other, 1)
	if n := query[int](o.server, "SELECT (SELECT count(*) FROM runs WHERE session_id = $1) + (SELECT count(*) FROM message_history WHERE session_id = $1)", id); n != 0 {
		t.Errorf("%d rows remain", n)
	}
}

// Of fifty concurrent messages to one conversation, each is stored and answered once, or refused because the queue is
// full.
func TestConcurrentSendsIntoOneConversationAreStoredOrRefused(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := alice.startConversation()
	stored := 0
	for _, got := range alice.postConcurrently(50, func(i int) (string, any) {
		return "/api/conversations/" + id + "/messages", object{"content": fmt.Sprint("question ", i)}
	}) {
		switch got.status {
		case http.StatusCreated:
			stored++
		default:
			got.wantProblem(503, "unavailable", "")
		}
	}
	if stored < 21 {
		t.Errorf("only %d messages were stored", stored)
	}
	alice.checkAnswered(id, stored)
}

// Fifty concurrent messages to fifty conversations are all answered.
func TestConcurrentSendsIntoManyConversationsAreAllAnswered(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	var conversations []string
	for range 50 {
		conversations = append(conversations, alice.startConversation())
	}
	for _, got := range alice.postConcurrently(50, func(i int) (string, any) {
		return "/api/conversations/" + conversations[i] + "/messages", object{"content": question}
	}) {
		got.wantStatus(http.StatusCreated)
	}
	for _, id := range conversations {
		alice.checkAnswered(id, 1)
	}
}

// postConcurrently sends n POSTs at the same time.
func (c caller) postConcurrently(n int, request func(i int) (path string, body any), options ...option) []answer {
	c.t.Helper()
	answers := make([]answer, n)
	errs := make([]error, n)
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		path, body := request(i)
		all.Go(func() {
			<-begin
			answers[i], errs[i] = c.tryCall(http.MethodPost, path, body, append([]option{withHeader("Authorization", "Api-Key "+c.key)}, options...)...)
		})
	}
	close(begin)
	all.Wait()
	for _, err := range errs {
		if err != nil {
			c.t.Fatal(err)
		}
	}
	return answers
}

// A message is acknowledged while the bot is busy with other conversations.
func TestMessagesAreAcknowledgedBeforeTheReply(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	release := o.blockReplies()
	began := time.Now()
	started := alice.post("/api/conversations/start", object{"initial_message": question})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the acknowledgement took %v", took)
	}
	if messages := alice.history(text(started, "conversation_id")); len(messages) != 1 {
		t.Errorf("%v", messages)
	}
	release()
	alice.checkAnswered(text(started, "conversation_id"), 1)
}
