package conformance

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

func completionChecks() []check {
	return []check{
		named("completions/json", "A JSON completion is exactly the stored reply, and names its run.", checkJSONCompletion),
		scripted("completions/stream-is-json", "The deltas of a stream add up to the text of the JSON response and of the stored reply.", checkStreamEqualsJSON),
		scripted("completions/error", "A failed reply is 502 as JSON, and in a stream the last event with the problem.", checkFailedReply),
		named("completions/error-before-stream", "Errors that can be detected early have a status and begin no stream.", checkErrorsBeforeStream),
		scripted("completions/cancel", "A cancelled run stops and keeps its text; cancelling it again succeeds.", checkCancel),
		scripted("completions/deprecated-fields", "The deprecated names of request fields are accepted.", checkDeprecatedFields),
	}
}

func checkJSONCompletion(t *checker) {
	got := t.user.post(t.completionsPath(), question(askBrief, "", false))
	completion := got.json(http.StatusOK)
	t.deleteConversationLater(completion.str("conversationId"))
	t.require(completion.bool("done") && completion.str("finishReason") != "" && completion.has("usage") && completion.has("citations"), "the completion is %v", completion)
	t.require(got.header.Get("X-Run-Id") == completion.str("runId"), "X-Run-Id is %q, runId %q", got.header.Get("X-Run-Id"), completion.str("runId"))
	t.require(!t.isScripted || completion.str("content") == briefText, "the reply is %q", completion.str("content"))
	stored := t.user.expectReply(completion.str("conversationId"), completion.str("content"))
	t.require(stored.str("id") == completion.str("messageId") && stored.str("sender") == "bot", "the stored reply is %v", stored)
	run := t.user.getJSON("/api/runs/" + completion.str("runId") + "/")
	t.require(run.str("state") == "completed" && run.str("messageId") == completion.str("messageId"), "the run is %v", run)
}

func checkStreamEqualsJSON(t *checker) {
	for _, content := range []string{askBrief, askPaced} {
		asJSON := t.user.post(t.completionsPath(), question(content, "", false)).json(http.StatusOK)
		events := t.user.streamCompletion(content, "").readAll()
		last := events[len(events)-1].data
		t.require(textOf(events) == asJSON.str("content"), "the stream has %q, the JSON response %q", textOf(events), asJSON.str("content"))
		stored := t.user.expectReply(last.str("conversationId"), textOf(events))
		t.require(stored.str("id") == last.str("messageId"), "the stored reply is %v", stored)
		for _, field := range []string{"citations", "citationNodes", "suggestions", "usage", "finishReason"} {
			t.require(last.has(field) && len(last.list(field)) == len(asJSON.list(field)), "the last event's %s is %v, the JSON response's %v", field, last[field], asJSON[field])
		}
	}
}

func checkFailedReply(t *checker) {
	t.user.post(t.completionsPath(), question(askFailure, "", false)).expectProblem("upstream_failed")
	events := t.user.streamCompletion(askFailure, "").readAll()
	last := events[len(events)-1].data
	t.require(last.str("finishReason") == "error" && last.obj("error").str("error") == "upstream_failed", "the last event is %v", last)
	t.require(textOf(events) != "", "the text before the failure is missing")
}

func checkErrorsBeforeStream(t *checker) {
	t.user.post(t.completionsPath(), object{"message": object{"content": " "}, "isStreaming": true}).expectProblem("invalid_message")
	t.user.post("/api/chatbots/nothing/completions/", question("x", "", true)).expectProblem("not_found")
	t.anonymous().post(t.completionsPath(), question("x", "", true)).expectProblem("unauthorized")
	t.user.get("/api/runs/nothing/events/").expectProblem("not_found")
}

func checkCancel(t *checker) {
	stream := t.user.streamCompletion(askLong, "")
	run := "/api/runs/" + stream.header.Get("X-Run-Id") + "/"
	first := stream.mustNext()
	began := time.Now()
	cancelled := t.user.post(run+"cancel/", nil).json(http.StatusOK)
	events := append([]event{first}, stream.readAll()...)
	t.require(time.Since(began) < 5*time.Second, "the run stops %s after the cancellation", time.Since(began).Round(time.Millisecond))
	last := events[len(events)-1].data
	t.require(last.str("finishReason") == "cancelled", "the cancelled stream ends with %v", last)
	t.require(textOf(events) != "" && strings.HasPrefix(longText, textOf(events)) && textOf(events) != longText, "the cancelled stream has %q", truncate(textOf(events), 100))
	t.user.expectReply(last.str("conversationId"), textOf(events))
	t.require(cancelled.str("id") == last.str("runId"), "the cancellation returns the run %v", cancelled)
	t.require(t.user.post(run+"cancel/", nil).json(http.StatusOK).str("state") == "cancelled", "the run is not cancelled after a second cancellation")
}

func checkDeprecatedFields(t *checker) {
	stream := t.user.stream(http.MethodPost, t.completionsPath(), object{"message": object{"content": askAnything, "query_metadata": object{"k": 1}}, "is_streaming": true})
	events := stream.readAll()
	t.require(textOf(events) == plainText, "the stream has %q", textOf(events))
	page := t.user.getJSON("/api/messages/?conversation=" + events[0].data.str("conversationId")).list("results")
	t.require(slices.ContainsFunc(page, func(message object) bool { return message.obj("queryMetadata").num("k") == 1 }), "query_metadata was not stored")
}
