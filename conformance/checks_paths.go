package conformance

import (
	"net/http"
	"strings"
)

func pathChecks() []check {
	return []check{
		{name: "paths/twins", holds: "/api/conversations and /api/conversations/ are two operations with two answers.", ask: twinsAreApart},
		{name: "paths/other-slash", holds: "A method that exists with or without the trailing slash only is reached by both, its body included.", ask: otherSlashReaches},
		{name: "paths/aliases", holds: "Paths below /api/v1, and /conversations without /api, reach the same operations.", ask: aliasesReach},
		{name: "paths/escapes", holds: "An escaped slash stays a part of an id, and queries arrive as they were sent.", ask: escapesArrive},
		{name: "paths/malformed-ids", holds: "An id that is none is 404.", ask: malformedIDsAre404},
	}
}

func twinsAreApart(t *trial) {
	user := t.user()
	plain, slashed := user.get("/api/conversations?limit=1").gives(http.StatusOK), user.get("/api/conversations/?pageSize=1").gives(http.StatusOK)
	t.must(plain.has("conversations") && plain.has("total"), "/api/conversations is answered as %s would be", "/api/conversations/")
	t.must(slashed.has("results") && slashed.has("nextCursor"), "/api/conversations/ is answered as %s would be", "/api/conversations")
}

func otherSlashReaches(t *trial) {
	user := t.user()
	started := user.post("/api/conversations/start/", object{"bot_id": t.bot}).gives(http.StatusCreated)
	id := started.str("conversation_id")
	t.began(id)
	user.call(http.MethodPatch, "/api/conversations/"+id, object{"title": "slash", "autoReplyEnabled": false}).gives(http.StatusOK)
	user.post("/api/conversations/"+id+"/messages/", object{"content": "with a slash"}).gives(http.StatusCreated)
	user.post("/api/messages", object{"conversation": id, "content": "without a slash"}).gives(http.StatusCreated)
	history := user.get("/api/conversations/" + id + "/history/").gives(http.StatusOK)
	t.must(strings.Join(contents(history.list("messages")), "|") == "with a slash|without a slash", "what was sent is stored as %v", contents(history.list("messages")))
	t.must(user.get("/api/conversations/"+id).gives(http.StatusOK).str("title") == "slash", "the title that was set with the other slash is not there")
	user.get("/api/me").gives(http.StatusOK)
}

func aliasesReach(t *trial) {
	user := t.user()
	id := user.quiet()
	for _, path := range []string{"/api/v1/conversations/" + id + "/history", "/conversations/" + id + "/history"} {
		t.must(user.get(path).gives(http.StatusOK).has("messages"), "%s is not the history", path)
	}
	t.must(user.get("/conversations?limit=1").gives(http.StatusOK).has("conversations"), "/conversations is not the list")
	t.must(user.get("/api/v1/messages/?pageSize=1").gives(http.StatusOK).has("results"), "/api/v1/messages/ is not the list")
}

func escapesArrive(t *trial) {
	user := t.user()
	id := user.quiet()
	got := user.get("/api/conversations/" + id + "%2Fhistory")
	t.must(got.status == http.StatusNotFound, "something on the way decodes %%2F: %s is answered with %d", got.asked, got.status)
	user.say(id, "100% a+b & c_d?")
	title := "t" + t.run
	user.call(http.MethodPatch, "/api/conversations/"+id+"/", object{"title": title + " 100%+1&2"}).gives(http.StatusOK)
	for _, keyword := range []string{title + "%20100%25", "100%25%2B1%262", title + "+100%25"} {
		found := user.get("/api/conversations/?keyword=" + keyword).gives(http.StatusOK).list("results")
		t.must(len(found) > 0, "nothing is found by the keyword %s, which is there", keyword)
	}
	none := user.get("/api/conversations/?keyword=" + title + "%25%25").gives(http.StatusOK).list("results")
	t.must(len(none) == 0, "something is found by a keyword that is not there")
}

func malformedIDsAre404(t *trial) {
	user := t.user()
	for _, id := range []string{"nothing", "0", "00000000-0000-0000-0000-000000000000", "%E5%AD%97", "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e0"} {
		user.get("/api/conversations/"+id+"/").refused(http.StatusNotFound, "not_found")
	}
}
