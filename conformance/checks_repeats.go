package conformance

import (
	"net/http"

	"github.com/google/uuid"
)

func repeatChecks() []check {
	return []check{
		{name: "repeats/same-answer", holds: "A request that is repeated with its Idempotency-Key is answered as before, and done once.", ask: repeatIsAnsweredAgain},
		{name: "repeats/other-body", holds: "The same Idempotency-Key with another body is 422.", ask: otherBodyIs422},
		{name: "repeats/secret", holds: "A request whose answer held a secret is not repeated: 409.", ask: repeatOfSecretIs409},
		{name: "repeats/failure", holds: "A request that was refused does not use its Idempotency-Key up.", ask: refusalKeepsTheKey},
		{name: "repeats/stream", holds: "The repeat of a streamed completion follows the same run.", ask: repeatFollowsTheRun},
	}
}

// once is a new Idempotency-Key.
func once() option { return header("Idempotency-Key", uuid.NewString()) }

func repeatIsAnsweredAgain(t *trial) {
	user := t.user()
	id := user.quiet()
	key := once()
	for _, path := range []string{"/api/conversations/" + id + "/messages", "/api/messages/"} {
		body := object{"content": "once", "conversation": id}
		first := user.post(path, body, key)
		first.gives(http.StatusCreated)
		t.must(first.header.Get("Idempotency-Replayed") == "", "the first request to %s is answered as a repeat", path)
		again := user.post(path, body, key)
		again.gives(http.StatusCreated)
		t.must(string(again.body) == string(first.body), "the repeat to %s is answered with %s, the first request with %s: something on the way may drop Idempotency-Key", path, again.excerpt(), first.excerpt())
		t.must(again.header.Get("Idempotency-Replayed") == "true", "the repeat to %s has no Idempotency-Replayed", path)
	}
	messages, _ := user.history(id, "")
	t.must(len(messages) == 2, "two messages that were each sent twice are stored as %d", len(messages))
}

func otherBodyIs422(t *trial) {
	user := t.user()
	path := "/api/conversations/" + user.quiet() + "/messages"
	key := once()
	user.post(path, object{"content": "one"}, key).gives(http.StatusCreated)
	user.post(path, object{"content": "other"}, key).refused(http.StatusUnprocessableEntity, "unprocessable")
}

func repeatOfSecretIs409(t *trial) {
	key := once()
	t.user().post("/api/ws-tickets/", object{}, key).gives(http.StatusCreated)
	t.user().post("/api/ws-tickets/", object{}, key).refused(http.StatusConflict, "conflict")
}

func refusalKeepsTheKey(t *trial) {
	user := t.user()
	path := "/api/conversations/" + user.quiet() + "/messages"
	key := once()
	user.post(path, object{"content": " "}, key).refused(http.StatusBadRequest, "invalid_message")
	user.post(path, object{"content": "better"}, key).gives(http.StatusCreated)
}

func repeatFollowsTheRun(t *trial) {
	t.scripted()
	user := t.user()
	key := once()
	first := user.askStream(askPaced, "", key)
	run := first.header.Get("X-Run-Id")
	first.first()
	first.close()
	again := user.askStream(askPaced, "", key)
	t.must(again.header.Get("X-Run-Id") == run, "the repeat is of the run %s, the first request was of %s", again.header.Get("X-Run-Id"), run)
	t.must(again.header.Get("Idempotency-Replayed") == "true", "the repeat has no Idempotency-Replayed")
	events := again.rest()
	t.must(said(events) == joined(pacedDeltas), "the repeat says %q", said(events))
	messages, _ := user.history(events[0].data.str("conversationId"), "")
	t.must(len(messages) == 2, "the question and its reply are stored as %d messages", len(messages))
}
