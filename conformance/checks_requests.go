package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func requestChecks() []check {
	return []check{
		forAnyKey("errors/unknown-path", "An unknown path is 404 with a problem document.", checkUnknownPath),
		forAnyKey("errors/wrong-method", "A method that a path does not support is 405, and Allow lists those it supports.", checkWrongMethod),
		forAnyKey("errors/request-id", "A request's X-Request-Id is on its response and in its problem; an invalid one is replaced.", checkRequestID),
		named("errors/violations", "An invalid request is 400 with an entry for each violation and its location.", checkViolations),
		named("errors/codes", "A violation in a message's own fields is invalid_message, any other is invalid_request.", checkErrorCodes),
		named("errors/media-type", "A body with another media type is 415.", checkMediaType),
		named("errors/too-large", "A body over 1 MiB, or a message over 100,000 characters, is 413 with a problem document.", checkTooLarge),
		named("requests/one-mebibyte", "A JSON body of 1 MiB is accepted.", checkOneMebibyte),
		named("requests/unknown-fields", "Unknown fields and Accept are ignored.", checkUnknownFields),
		named("requests/headers", "A request's headers reach the service: Idempotency-Key, Last-Event-ID, Content-Type, Authorization.", checkHeaders),
		named("requests/cors", "A page of an allowed origin can send the API's request headers and read its response headers.", checkCORS),
	}
}

func checkUnknownPath(t *checker) {
	for _, path := range []string{"/api/nothing/", "/nothing", "/api/conversations/a/b/c/d"} {
		t.user.get(path).expectProblem("not_found")
	}
}

func checkWrongMethod(t *checker) {
	for path, allowed := range map[string][]string{
		"/api/conversations/start": {"POST"},
		"/api/me/":                 {"GET"},
		"/api/messages/":           {"GET", "POST"},
		"/api/conversations":       {"GET", "POST"}, // of the path with and without the slash
	} {
		got := t.user.call(http.MethodPut, path, object{})
		got.expectProblem("method_not_allowed")
		for _, method := range allowed {
			t.require(slices.Contains(strings.Split(got.header.Get("Allow"), ", "), method), "%s: Allow is %q, without %s", path, got.header.Get("Allow"), method)
		}
	}
}

func checkRequestID(t *checker) {
	id := "conformance-" + t.runID + ".1:x_y"
	for _, path := range []string{"/api/me/", "/api/nothing/"} {
		got := t.user.get(path, header("X-Request-Id", id))
		t.require(got.header.Get("X-Request-Id") == id, "%s: X-Request-Id is %q, want %q", path, got.header.Get("X-Request-Id"), id)
		if got.status >= 400 {
			t.require(got.object().str("request_id") == id, "the problem's request_id is %q, want %q", got.object().str("request_id"), id)
		}
	}
	for _, invalid := range []string{"a b", strings.Repeat("x", 129), `"quoted"`} {
		got := t.user.get("/api/me/", header("X-Request-Id", invalid)).header.Get("X-Request-Id")
		t.require(got != "" && got != invalid, "the invalid X-Request-Id %.40q became %.40q", invalid, got)
	}
}

func checkViolations(t *checker) {
	problem := t.user.post("/api/conversations/batch", object{"operations": []object{{"action": "explode"}, {"action": "archive", "conversation_id": 7}}}).expectProblem("invalid_request")
	pointers := map[string]bool{}
	for _, violation := range problem.list("errors") {
		t.require(violation.str("in") == "body" && violation.str("detail") != "", "an entry of errors is %v", violation)
		pointers[violation.str("pointer")] = true
	}
	for _, pointer := range []string{"/operations/0/action", "/operations/0/conversation_id", "/operations/1/conversation_id"} {
		t.require(pointers[pointer], "errors is %v, without %s", problem["errors"], pointer)
	}
	problem = t.user.get("/api/conversations?limit=0&offset=x").expectProblem("invalid_request")
	parameters := map[string]bool{}
	for _, violation := range problem.list("errors") {
		parameters[violation.str("parameter")] = true
	}
	t.require(parameters["limit"] && parameters["offset"], "errors is %v, without limit or offset", problem["errors"])
	for _, broken := range []string{`{"operations":`, ``, `[]`, `{} {}`} {
		t.user.post("/api/conversations/batch", broken).expectProblem("invalid_request")
	}
}

func checkErrorCodes(t *checker) {
	conversation := t.user.startWithoutBot()
	path := "/api/conversations/" + conversation + "/messages"
	for _, body := range []string{`{"content":7}`, `{"content":"  "}`, `{}`, `{"content":"a\u0000b"}`} {
		t.user.post(path, body).expectProblem("invalid_message")
	}
	t.user.post("/api/messages/", object{"content": "x"}).expectProblem("invalid_request")
	messages := t.user.messages(conversation)
	t.require(len(messages) == 0, "rejected messages are stored: %q", contents(messages))
}

func checkMediaType(t *checker) {
	t.user.post("/api/conversations/start", `{}`, header("Content-Type", "text/plain")).expectProblem("unsupported_media_type")
	t.user.post("/api/conversations/start", `{}`, without("Content-Type")).expectProblem("unsupported_media_type")
}

const mebibyte = 1 << 20

// paddedMessage returns the body of a message with a given size in bytes. An unknown field fills it up.
func paddedMessage(size int) string {
	const frame = `{"content":"small","padding":"%s"}`
	return fmt.Sprintf(frame, strings.Repeat("x", size-len(frame)+len("%s")))
}

func checkTooLarge(t *checker) {
	path := "/api/conversations/" + t.user.startWithoutBot() + "/messages"
	t.user.post(path, object{"content": strings.Repeat("x", 100_001)}).expectProblem("too_large")
	got := t.user.post(path, paddedMessage(mebibyte+1))
	got.expectStatus(http.StatusRequestEntityTooLarge)
	t.require(got.object().str("error") == "too_large", "a proxy rejects a body over 1 MiB before the service does: %s", got.excerpt())
}

func checkOneMebibyte(t *checker) {
	got := t.user.post("/api/conversations/"+t.user.startWithoutBot()+"/messages", paddedMessage(mebibyte))
	t.require(got.status == http.StatusCreated, "a body of exactly 1 MiB: status %d: a proxy has a lower limit: %s", got.status, got.excerpt())
}

func checkUnknownFields(t *checker) {
	conversation := t.user.startWithoutBot()
	t.user.create("/api/conversations/"+conversation+"/messages", object{"content": "x", "unknown": object{"field": 1}})
	for _, accept := range []string{"application/xml", "text/event-stream", "nonsense"} {
		t.user.getJSON("/api/conversations/"+conversation+"/", header("Accept", accept))
	}
}

func checkHeaders(t *checker) {
	// An error about an invalid header proves that the header arrived.
	t.user.post("/api/conversations/batch", object{"operations": []object{{"action": "archive", "conversation_id": "nothing"}}}, header("Idempotency-Key", strings.Repeat("k", 256))).expectProblem("invalid_request")
	t.user.get("/api/runs/019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e03/events/", header("Last-Event-ID", "nonsense")).expectProblem("invalid_request")
	t.user.create("/api/conversations/"+t.user.startWithoutBot()+"/messages", `{"content":"x"}`, header("Content-Type", "application/json; charset=utf-8"))
	t.user.get("/api/me/", header("Authorization", "Bearer nonsense")).expectProblem("unauthorized")
}

func checkCORS(t *checker) {
	preflight := t.anonymous().call(http.MethodOptions, "/api/conversations/start", nil, header("Origin", t.config.Origin),
		header("Access-Control-Request-Method", "POST"), header("Access-Control-Request-Headers", "authorization,content-type,idempotency-key"))
	t.require(preflight.status == http.StatusNoContent || preflight.status == http.StatusOK, "preflight: status %d, want 204 or 200: %s", preflight.status, preflight.excerpt())
	got := t.user.get("/api/me/", header("Origin", t.config.Origin))
	allowed := func(r response) bool {
		origin := r.header.Get("Access-Control-Allow-Origin")
		return origin == t.config.Origin || origin == "*"
	}
	if !allowed(preflight) && !allowed(got) {
		t.skipf("the origin %s is not allowed (PARLEY_ALLOWED_ORIGINS); set --origin to one that is", t.config.Origin)
	}
	t.require(allowed(preflight), "the response allows the origin, its preflight does not")
	t.require(allowed(got), "the preflight allows the origin, the response does not")
	contains := func(list, name string) bool {
		return slices.ContainsFunc(strings.Split(list, ","), func(item string) bool { return strings.EqualFold(strings.TrimSpace(item), name) })
	}
	for _, name := range []string{"Authorization", "Content-Type", "Idempotency-Key"} {
		t.require(contains(preflight.header.Get("Access-Control-Allow-Headers"), name), "a page cannot send %s", name)
	}
	for _, name := range []string{"X-Request-Id", "X-Run-Id", "Idempotency-Replayed", "Retry-After", "RateLimit", "RateLimit-Policy", "Content-Disposition"} {
		t.require(contains(got.header.Get("Access-Control-Expose-Headers"), name), "a page cannot read %s", name)
	}
}
