package conformance

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

func completionChecks() []check {
	return []check{
		{name: "completions/json", holds: "A completion's JSON is exactly the reply that is stored, and names its run.", ask: jsonIsStored},
		{name: "completions/stream-is-json", holds: "The deltas of a stream joined are exactly the JSON answer's text and the stored reply.", ask: streamIsJSON},
		{name: "completions/failure", holds: "A reply that fails is 502 as JSON, and the last event of a stream, with its problem.", ask: failureIsTold},
		{name: "completions/refused-first", holds: "What can be refused is refused with its status before a stream begins.", ask: streamsAreRefusedFirst},
		{name: "completions/cancel", holds: "A run that is cancelled stops, keeps its text so far, and may be cancelled again.", ask: runIsCancelled},
		{name: "completions/spelling", holds: "Requests in the older spelling of the keys are understood.", ask: olderSpellingIsTaken},
	}
}

func joined(deltas []string) string { return strings.Join(deltas, "") }

func jsonIsStored(t *trial) {
	user := t.user()
	got := user.post(t.completions(), question(askBrief, "", false))
	completion := got.gives(http.StatusOK)
	t.began(completion.str("conversationId"))
	t.must(completion.is("done") && completion.str("finishReason") != "" && completion.has("usage") && completion.has("citations"), "the completion is %v", completion)
	t.must(got.header.Get("X-Run-Id") == completion.str("runId"), "X-Run-Id is %q, the run %q", got.header.Get("X-Run-Id"), completion.str("runId"))
	t.must(!t.hasScript || completion.str("content") == joined(briefDeltas), "the reply is %q", completion.str("content"))
	messages, _ := user.history(completion.str("conversationId"), "")
	t.must(len(messages) == 2 && messages[1].str("content") == completion.str("content") && messages[1].str("id") == completion.str("messageId") && messages[1].str("sender") == "bot",
		"the reply %q is stored as %v", completion.str("content"), contents(messages))
	run := user.get("/api/runs/" + completion.str("runId") + "/").gives(http.StatusOK)
	t.must(run.str("state") == "completed" && run.str("messageId") == completion.str("messageId"), "the run is %v", run)
}

func streamIsJSON(t *trial) {
	t.scripted()
	user := t.user()
	for _, content := range []string{askBrief, askPaced} {
		asJSON := user.post(t.completions(), question(content, "", false)).gives(http.StatusOK)
		events := user.askStream(content, "").rest()
		last := events[len(events)-1].data
		t.must(said(events) == asJSON.str("content"), "the stream says %q, the JSON answer %q", said(events), asJSON.str("content"))
		messages, _ := user.history(last.str("conversationId"), "")
		t.must(len(messages) == 2 && messages[1].str("content") == said(events) && messages[1].str("id") == last.str("messageId"), "the stream says %q, stored is %q", said(events), contents(messages))
		for _, field := range []string{"citations", "citationNodes", "suggestions", "usage", "finishReason"} {
			t.must(last.has(field) && len(last.list(field)) == len(asJSON.list(field)), "the last event's %s is %v, the JSON answer's %v", field, last[field], asJSON[field])
		}
	}
}

func failureIsTold(t *trial) {
	t.scripted()
	user := t.user()
	user.post(t.completions(), question(askFailure, "", false)).refused(http.StatusBadGateway, "upstream_failed")
	events := user.askStream(askFailure, "").rest()
	last := events[len(events)-1].data
	t.must(last.str("finishReason") == "error" && last.obj("error").str("error") == "upstream_failed", "the last event is %v", last)
	t.must(said(events) != "", "what was said before the failure is not told")
}

func streamsAreRefusedFirst(t *trial) {
	user := t.user()
	user.post(t.completions(), object{"message": object{"content": " "}, "isStreaming": true}).refused(http.StatusBadRequest, "invalid_message")
	user.post("/api/chatbots/nothing/completions/", question("x", "", true)).refused(http.StatusNotFound, "not_found")
	t.nobody().post(t.completions(), question("x", "", true)).refused(http.StatusUnauthorized, "unauthorized")
	user.get("/api/runs/nothing/events/").refused(http.StatusNotFound, "not_found")
}

func runIsCancelled(t *trial) {
	t.scripted()
	user := t.user()
	stream := user.askStream(askLong, "")
	run := "/api/runs/" + stream.header.Get("X-Run-Id") + "/"
	beginning := stream.first()
	began := time.Now()
	cancelled := user.post(run+"cancel/", nil).gives(http.StatusOK)
	events := append([]event{beginning}, stream.rest()...)
	t.must(time.Since(began) < 5*time.Second, "it stops after %s", time.Since(began).Round(time.Millisecond))
	last := events[len(events)-1].data
	t.must(last.str("finishReason") == "cancelled", "the cancelled stream ends with %v", last)
	t.must(said(events) != "" && strings.HasPrefix(joined(longDeltas), said(events)) && said(events) != joined(longDeltas), "the cancelled stream has said %q", shortened(said(events), 100))
	messages, _ := user.history(last.str("conversationId"), "")
	t.must(len(messages) == 2 && messages[1].str("content") == said(events), "the text so far is %q, stored is %q", said(events), contents(messages))
	t.must(cancelled.str("id") == last.str("runId"), "the answer is of the run %v", cancelled)
	t.must(user.post(run+"cancel/", nil).gives(http.StatusOK).str("state") == "cancelled", "cancelled again, it is otherwise")
}

func olderSpellingIsTaken(t *trial) {
	t.scripted()
	user := t.user()
	stream := user.stream(http.MethodPost, t.completions(), object{"message": object{"content": askAnything, "query_metadata": object{"k": 1}}, "is_streaming": true})
	events := stream.rest()
	t.must(said(events) == "Noted.", "the stream says %q", said(events))
	page := user.get("/api/messages/?conversation=" + events[0].data.str("conversationId")).gives(http.StatusOK).list("results")
	t.must(slices.ContainsFunc(page, func(one object) bool { return one.obj("queryMetadata").num("k") == 1 }), "the query_metadata are not kept")
}
