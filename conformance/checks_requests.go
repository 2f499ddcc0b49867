package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func requestChecks() []check {
	return []check{
		{name: "errors/unknown-path", holds: "A path that there is not is 404, as a problem document.", ask: unknownPathIs404},
		{name: "errors/wrong-method", holds: "A method that a path does not take is 405, and Allow says what it takes.", ask: wrongMethodIs405},
		{name: "errors/request-id", holds: "A request's own X-Request-Id is on its answer and in its problem; one that is not sane is replaced.", ask: requestIDIsKept},
		{name: "errors/mistakes", holds: "What is malformed is 400 with an entry for each mistake, which says where it is.", ask: mistakesAreTold},
		{name: "errors/codes", holds: "A mistake in a message's own fields is invalid_message, any other invalid_request.", ask: codesAreApart},
		{name: "errors/media-type", holds: "A body of another type is 415.", ask: mediaTypeIs415},
		{name: "errors/too-large", holds: "A body over 1 MiB, or a message over 32,768 characters, is 413 from the service itself.", ask: tooLargeIs413},
		{name: "requests/one-mebibyte", holds: "A JSON body of 1 MiB is taken.", ask: oneMebibyteIsTaken},
		{name: "requests/unknown-fields", holds: "Unknown fields are ignored, and Accept refuses no answer.", ask: unknownFieldsAreIgnored},
		{name: "requests/headers", holds: "A request's headers reach the service: Idempotency-Key, Last-Event-ID, Content-Type, Authorization.", ask: headersReachTheService},
		{name: "requests/cors", holds: "A page of an allowed origin may send what the API takes, and read what it answers.", ask: pagesMayRead},
	}
}

func unknownPathIs404(t *trial) {
	for _, path := range []string{"/api/nothing/", "/nothing", "/api/conversations/a/b/c/d"} {
		t.user().get(path).refused(http.StatusNotFound, "not_found")
	}
}

func wrongMethodIs405(t *trial) {
	for path, allowed := range map[string][]string{
		"/api/conversations/start": {"POST"},
		"/api/me/":                 {"GET"},
		"/api/messages/":           {"GET", "POST"},
		"/api/conversations":       {"GET", "POST"}, // of both spellings
	} {
		got := t.user().call(http.MethodPut, path, object{})
		got.refused(http.StatusMethodNotAllowed, "method_not_allowed")
		for _, method := range allowed {
			t.must(slices.Contains(strings.Split(got.header.Get("Allow"), ", "), method), "Allow of %s is %q, without %s", path, got.header.Get("Allow"), method)
		}
	}
}

func requestIDIsKept(t *trial) {
	id := "conformance-" + t.run + ".1:x_y"
	for _, path := range []string{"/api/me/", "/api/nothing/"} {
		got := t.user().get(path, header("X-Request-Id", id))
		t.must(got.header.Get("X-Request-Id") == id, "the X-Request-Id of %s is %q, and was sent as %q", path, got.header.Get("X-Request-Id"), id)
		if got.status >= 400 {
			t.must(got.json().str("request_id") == id, "the problem's request_id is %q, and was sent as %q", got.json().str("request_id"), id)
		}
	}
	for _, insane := range []string{"a b", strings.Repeat("x", 129), `"quoted"`} {
		got := t.user().get("/api/me/", header("X-Request-Id", insane)).header.Get("X-Request-Id")
		t.must(got != "" && got != insane, "the X-Request-Id %.40q is answered with %.40q", insane, got)
	}
}

func mistakesAreTold(t *trial) {
	user := t.user()
	problem := user.post("/api/conversations/batch", object{"operations": []object{{"action": "explode"}, {"action": "archive", "conversation_id": 7}}}).refused(http.StatusBadRequest, "invalid_request")
	told := map[string]bool{}
	for _, one := range problem.list("errors") {
		t.must(one.str("in") == "body" && one.str("detail") != "", "an entry is %v", one)
		told[one.str("pointer")] = true
	}
	for _, pointer := range []string{"/operations/0/action", "/operations/0/conversation_id", "/operations/1/conversation_id"} {
		t.must(told[pointer], "of the mistakes only %v are told, not %s", problem["errors"], pointer)
	}
	problem = user.get("/api/conversations?limit=0&offset=x").refused(http.StatusBadRequest, "invalid_request")
	parameters := map[string]bool{}
	for _, one := range problem.list("errors") {
		parameters[one.str("parameter")] = true
	}
	t.must(parameters["limit"] && parameters["offset"], "of the parameters only %v are told", problem["errors"])
	for _, broken := range []string{`{"operations":`, ``, `[]`, `{} {}`} {
		user.post("/api/conversations/batch", broken).refused(http.StatusBadRequest, "invalid_request")
	}
}

func codesAreApart(t *trial) {
	user := t.user()
	conversation := user.quiet()
	path := "/api/conversations/" + conversation + "/messages"
	for _, body := range []string{`{"content":7}`, `{"content":"  "}`, `{}`, `{"content":"a\u0000b"}`} {
		user.post(path, body).refused(http.StatusBadRequest, "invalid_message")
	}
	user.post("/api/messages/", object{"content": "x"}).refused(http.StatusBadRequest, "invalid_request")
	messages, _ := user.history(conversation, "")
	t.must(len(messages) == 0, "refused messages are stored: %v", contents(messages))
}

func mediaTypeIs415(t *trial) {
	t.user().post("/api/conversations/start", `{}`, header("Content-Type", "text/plain")).refused(http.StatusUnsupportedMediaType, "unsupported_media_type")
	t.user().post("/api/conversations/start", `{}`, without("Content-Type")).refused(http.StatusUnsupportedMediaType, "unsupported_media_type")
}

const mebibyte = 1 << 20

// padded is a body of a message with a field that nobody knows, of so many bytes.
func padded(size int) string {
	const frame = `{"content":"small","padding":"%s"}`
	return fmt.Sprintf(frame, strings.Repeat("x", size-len(frame)+len("%s")))
}

func tooLargeIs413(t *trial) {
	user := t.user()
	path := "/api/conversations/" + user.quiet() + "/messages"
	user.post(path, object{"content": strings.Repeat("x", 32769)}).refused(http.StatusRequestEntityTooLarge, "too_large")
	got := user.post(path, padded(mebibyte+1))
	got.has(http.StatusRequestEntityTooLarge)
	t.must(got.json().str("error") == "too_large", "something on the way refuses a body over 1 MiB before the service can: %s", got.excerpt())
}

func oneMebibyteIsTaken(t *trial) {
	user := t.user()
	got := user.post("/api/conversations/"+user.quiet()+"/messages", padded(mebibyte))
	t.must(got.status == http.StatusCreated, "a body of exactly 1 MiB is answered with %d: something on the way limits bodies to less: %s", got.status, got.excerpt())
}

func unknownFieldsAreIgnored(t *trial) {
	user := t.user()
	conversation := user.quiet()
	user.post("/api/conversations/"+conversation+"/messages", object{"content": "x", "unknown": object{"field": 1}}).gives(http.StatusCreated)
	for _, accept := range []string{"application/xml", "text/event-stream", "nonsense"} {
		user.get("/api/conversations/"+conversation+"/", header("Accept", accept)).gives(http.StatusOK)
	}
}

func headersReachTheService(t *trial) {
	user := t.user()
	// What is wrong with a header shows that it came.
	user.post("/api/conversations/batch", object{"operations": []object{{"action": "archive", "conversation_id": "nothing"}}}, header("Idempotency-Key", strings.Repeat("k", 256))).refused(http.StatusBadRequest, "invalid_request")
	user.get("/api/runs/019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e03/events/", header("Last-Event-ID", "nonsense")).refused(http.StatusBadRequest, "invalid_request")
	user.post("/api/conversations/"+user.quiet()+"/messages", `{"content":"x"}`, header("Content-Type", "application/json; charset=utf-8")).gives(http.StatusCreated)
	user.get("/api/me/", header("Authorization", "Bearer nonsense")).refused(http.StatusUnauthorized, "unauthorized")
}

func pagesMayRead(t *trial) {
	preflight := t.nobody().call(http.MethodOptions, "/api/conversations/start", nil, header("Origin", t.config.Origin),
		header("Access-Control-Request-Method", "POST"), header("Access-Control-Request-Headers", "authorization,content-type,idempotency-key"))
	t.must(preflight.status == http.StatusNoContent || preflight.status == http.StatusOK, "a preflight is answered with %d: %s", preflight.status, preflight.excerpt())
	got := t.user().get("/api/me/", header("Origin", t.config.Origin))
	allowed := func(a answer) bool {
		origin := a.header.Get("Access-Control-Allow-Origin")
		return origin == t.config.Origin || origin == "*"
	}
	if !allowed(preflight) && !allowed(got) {
		t.skip("pages of %s are not allowed (PARLEY_ALLOWED_ORIGINS); name one that is with --origin", t.config.Origin)
	}
	t.must(allowed(preflight), "the preflight does not allow the origin, the answer does")
	t.must(allowed(got), "the answer does not allow the origin, the preflight does")
	contains := func(list, name string) bool {
		return slices.ContainsFunc(strings.Split(list, ","), func(one string) bool { return strings.EqualFold(strings.TrimSpace(one), name) })
	}
	for _, name := range []string{"Authorization", "Content-Type", "Idempotency-Key"} {
		t.must(contains(preflight.header.Get("Access-Control-Allow-Headers"), name), "a page may not send %s", name)
	}
	for _, name := range []string{"X-Request-Id", "X-Run-Id", "Idempotency-Replayed", "Retry-After", "RateLimit", "RateLimit-Policy", "Content-Disposition"} {
		t.must(contains(got.header.Get("Access-Control-Expose-Headers"), name), "a page may not read %s", name)
	}
}
