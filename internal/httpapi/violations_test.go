package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
)

// A body can have tens of thousands of violations. A long body is answered with its first, a short one with at most a
// hundred.
func TestReportedViolationsAreLimited(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	for mistakes, want := range map[int]int{3: 3, 500: 100, 40_000: 1} {
		body := `{"message": {"content": "x", "queryMetadata": {"knowledge_bases": [{"faq_ids": [` + strings.TrimSuffix(strings.Repeat("1, ", mistakes), ", ") + `]}]}}}`
		got := alice.call(http.MethodPost, completions, body)
		if errs := objects(got.wantStatus(400), "errors"); len(errs) != want || len(got.body) > 32<<10 {
			t.Errorf("%d violations are reported as %d, in %d bytes", mistakes, len(errs), len(got.body))
		}
	}
}

// A repeat under an Idempotency-Key is answered even if the queue is full, because it needs no place in it.
func TestRepeatedRequestsAreAnsweredWhileTheQueueIsFull(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	o.blockReplies()
	path := "/api/conversations/" + id + "/messages"
	first := alice.call(http.MethodPost, path, object{"content": "Hi"}, withHeader("Idempotency-Key", "k"))
	for range 20 {
		alice.sendMessage(id, "Hi")
	}
	alice.call(http.MethodPost, path, object{"content": "Hi"}, withHeader("Idempotency-Key", "other")).wantProblem(503, "unavailable", "")
	again := alice.call(http.MethodPost, path, object{"content": "Hi"}, withHeader("Idempotency-Key", "k"))
	if again.wantStatus(201); string(again.body) != string(first.body) || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repeat is %s, the first response %s", again.body, first.body)
	}
}
