package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
)

// createScriptedBot creates a bot with one script, and returns its completions path.
func (o organization) createScriptedBot(slug string, rules ...object) string {
	o.t.Helper()
	o.as("manager", auth.Manage).post("/api/chatbots/", object{"name": slug, "slug": slug, "engine": "scripted", "script": object{"rules": rules}, "unanswerableReply": noAnswer})
	return "/api/chatbots/" + slug + "/completions/"
}

func completionBody(content string, streaming bool) object {
	return object{"message": object{"content": content}, "isStreaming": streaming}
}

// A script is returned as it was sent, is kept until it is changed or removed, and requires the scripted engine.
func TestScriptLifecycle(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	script := object{"rules": []any{
		object{"match": "Refund <1> & \u2028", "deltas": []any{"a", "", "字🙂"}, "delayMs": json.Number("5"), "failAfter": json.Number("2"), "silentAfter": json.Number("0"), "suggestions": []any{object{"text": "b"}, object{"text": "c", "context": "d"}}},
		object{"deltas": []any{}},
	}}
	made := admin.post("/api/chatbots/", object{"name": "S", "slug": "s", "engine": "scripted", "script": script})
	if made["engine"] != "scripted" || !equalJSON(made["script"], script) || !equalJSON(admin.get("/api/chatbots/s/"), made) {
		t.Errorf("%v", made)
	}
	if listed := objects(admin.get("/api/chatbots/"), "results"); !equalJSON(listed[0]["script"], script) || listed[1]["script"] != nil {
		t.Errorf("%v", listed)
	}
	if changed := admin.patch("/api/chatbots/s/", object{"greeting": "Hello"}); !equalJSON(changed["script"], script) {
		t.Errorf("%v", changed)
	}
	other := object{"rules": []any{object{"deltas": []any{"Other"}}}}
	if changed := admin.patch("/api/chatbots/s/", object{"script": other}); !equalJSON(changed["script"], other) {
		t.Errorf("%v", changed)
	}
	admin.call(http.MethodPatch, "/api/chatbots/s/", object{"script": nil}).wantProblem(400, "invalid_request", "/script")
	if changed := admin.patch("/api/chatbots/s/", object{"script": nil, "engine": "faq"}); changed["script"] != nil || changed["engine"] != "faq" {
		t.Errorf("%v", changed)
	}
	admin.call(http.MethodPatch, "/api/chatbots/s/", object{"engine": "scripted"}).wantProblem(400, "invalid_request", "/script")
	// A bot with another engine can store a script for later use.
	admin.patch("/api/chatbots/s/", object{"script": other})
	if changed := admin.patch("/api/chatbots/s/", object{"engine": "scripted"}); !equalJSON(changed["script"], other) {
		t.Errorf("%v", changed)
	}
}

// Invalid scripts that the schema cannot exclude are rejected, and nothing is created or changed.
func TestInvalidScriptsAreRejected(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	long := strings.Repeat("x", 131072)
	tooLong := object{"rules": []object{{"deltas": []string{long, long}}, {"deltas": []string{long, long, "x"}}}}
	for where, body := range map[string]object{
		"/script":                {"engine": "scripted"},
		"/script/rules/1/deltas": {"engine": "faq", "script": tooLong},
		"/script/rules/0/deltas": {"engine": "scripted", "script": object{"rules": []object{{"match": "x"}}}},
		"/script/rules":          {"engine": "scripted", "script": object{"rules": []object{}}},
	} {
		admin.call(http.MethodPatch, "/api/chatbots/parley/", body).wantProblem(400, "invalid_request", where)
		body["name"] = "S"
		admin.call(http.MethodPost, "/api/chatbots/", body).wantProblem(400, "invalid_request", where)
	}
	admin.call(http.MethodPost, "/api/chatbots/", object{"name": "S", "engine": "scripted", "script": nil}).wantProblem(400, "invalid_request", "/script")
	if listed := objects(admin.get("/api/chatbots/"), "results"); len(listed) != 1 || listed[0]["engine"] != "faq" || listed[0]["script"] != nil {
		t.Errorf("%v", listed)
	}
}

// The same question always receives the same reply, as JSON and as a stream, with the suggestions of the script.
func TestScriptedChatbotsReplyByTheirScript(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	suggestions := []any{object{"text": "And then?", "context": "script"}}
	path := o.createScriptedBot("s",
		object{"match": "hello", "deltas": []string{"Good ", "", "morning", " 🙂"}, "delayMs": 20, "suggestions": suggestions},
		object{"match": "nothing", "deltas": []string{""}},
	)
	for asked, want := range map[string]string{"Well, HELLO there": "Good morning 🙂", "Nothing?": "", "Who are you?": noAnswer} {
		for range 2 {
			plain := alice.call(http.MethodPost, path, completionBody(asked, false)).wantStatus(200)
			content, last := checkStream(t, alice.call(http.MethodPost, path, completionBody(asked, true)).events())
			if plain["content"] != want || content != want || plain["finishReason"] != "stop" || last["finishReason"] != "stop" || last["error"] != nil {
				t.Errorf("%s: the response is %v, the stream %q and %v", asked, plain, content, last)
			}
			wantSuggested := []any{}
			if asked == "Well, HELLO there" {
				wantSuggested = suggestions
			}
			if !equalJSON(plain["suggestions"], wantSuggested) || !equalJSON(last["suggestions"], wantSuggested) {
				t.Errorf("%s: the suggestions are %v and %v", asked, plain["suggestions"], last["suggestions"])
			}
		}
	}
}

// A scripted failure before the first text has its status, and a later one is the last event of the stream. The text
// before it is kept.
func TestScriptedFailuresAreReported(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	o.expectFailures()
	alice := o.as("alice", auth.Chat)
	path := o.createScriptedBot("s", object{"match": "at once", "deltas": []string{"x"}, "failAfter": 0}, object{"deltas": []string{"One ", "moment", "never"}, "failAfter": 2})
	for asked, want := range map[string]string{"Fail at once": "", "Fail": "One moment"} {
		alice.call(http.MethodPost, path, completionBody(asked, false)).wantProblem(502, "upstream_failed", "")
		got := alice.call(http.MethodPost, path, completionBody(asked, true))
		content, last := checkStream(t, got.events())
		problem, _ := last["error"].(object)
		if content != want || last["finishReason"] != "error" || problem["error"] != "upstream_failed" || problem["status"] != float64(502) {
			t.Errorf("%s: streamed %q and %v", asked, content, last)
		}
		run := alice.get("/api/runs/" + got.header.Get("X-Run-Id") + "/")
		if run["state"] != "failed" || run["error"].(object)["error"] != "upstream_failed" {
			t.Errorf("the run: %v", run)
		}
		stored := alice.history(text(run, "conversation"))
		if want == "" && len(stored) != 1 || want != "" && (len(stored) != 2 || stored[1]["content"] != want) {
			t.Errorf("%s: the stored message is %v", asked, stored)
		}
	}
}
