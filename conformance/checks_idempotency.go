package conformance

import (
	"net/http"

	"github.com/google/uuid"
)

func idempotencyChecks() []check {
	return []check{
		named("idempotency/replay", "A repeated request with the same Idempotency-Key gets the same response and takes effect once.", checkReplay),
		named("idempotency/other-body", "The same Idempotency-Key with another body is 422.", checkOtherBody),
		named("idempotency/secret", "A repeat of a request whose response had a secret is 409.", checkSecretReplay),
		named("idempotency/rejected", "A rejected request does not consume its Idempotency-Key.", checkRejectedRequest),
		scripted("idempotency/stream", "A repeated streaming completion follows the same run.", checkStreamReplay),
	}
}

// newIdempotencyKey sets a new Idempotency-Key.
func newIdempotencyKey() option { return header("Idempotency-Key", uuid.NewString()) }

func checkReplay(t *checker) {
	id := t.user.startWithoutBot()
	key := newIdempotencyKey()
	for _, path := range []string{"/api/conversations/" + id + "/messages", "/api/messages/"} {
		body := object{"content": "once", "conversation": id}
		first := t.user.post(path, body, key)
		first.expectStatus(http.StatusCreated)
		t.require(first.header.Get("Idempotency-Replayed") == "", "the first request to %s has Idempotency-Replayed", path)
		again := t.user.post(path, body, key)
		again.expectStatus(http.StatusCreated)
		t.require(string(again.body) == string(first.body), "the repeat to %s returns %s, the first request returned %s: a proxy may drop Idempotency-Key", path, again.excerpt(), first.excerpt())
		t.require(again.header.Get("Idempotency-Replayed") == "true", "the repeat to %s does not have Idempotency-Replayed", path)
	}
	messages := t.user.messages(id)
	t.require(len(messages) == 2, "two messages, each sent twice, are stored as %d messages", len(messages))
}

func checkOtherBody(t *checker) {
	path := "/api/conversations/" + t.user.startWithoutBot() + "/messages"
	key := newIdempotencyKey()
	t.user.create(path, object{"content": "one"}, key)
	t.user.post(path, object{"content": "other"}, key).expectProblem("unprocessable")
}

func checkSecretReplay(t *checker) {
	key := newIdempotencyKey()
	t.user.create("/api/ws-tickets/", object{}, key)
	t.user.post("/api/ws-tickets/", object{}, key).expectProblem("conflict")
}

func checkRejectedRequest(t *checker) {
	path := "/api/conversations/" + t.user.startWithoutBot() + "/messages"
	key := newIdempotencyKey()
	t.user.post(path, object{"content": " "}, key).expectProblem("invalid_message")
	t.user.create(path, object{"content": "better"}, key)
}

func checkStreamReplay(t *checker) {
	key := newIdempotencyKey()
	first := t.user.streamCompletion(askPaced, "", key)
	run := first.header.Get("X-Run-Id")
	first.mustNext()
	first.close()
	again := t.user.streamCompletion(askPaced, "", key)
	t.require(again.header.Get("X-Run-Id") == run, "the repeat has the run %s, the first request had %s", again.header.Get("X-Run-Id"), run)
	t.require(again.header.Get("Idempotency-Replayed") == "true", "the repeat does not have Idempotency-Replayed")
	events := again.readAll()
	t.require(textOf(events) == pacedText, "the repeat streams %q", textOf(events))
	messages := t.user.messages(events[0].data.str("conversationId"))
	t.require(len(messages) == 2, "a question and its reply are stored as %d messages", len(messages))
}
