package conformance

import (
	"net/http"
	"strings"
)

func pathChecks() []check {
	return []check{
		named("paths/distinct-slash", "/api/conversations and /api/conversations/ are two operations with different responses.", checkDistinctSlash),
		named("paths/alternate-slash", "Paths with and without a trailing slash reach the same operation, with its body, unless both are declared.", checkAlternateSlash),
		named("paths/aliases", "Paths below /api/v1, and /conversations without /api, reach the same operations.", checkAliases),
		named("paths/escapes", "An escaped slash remains part of an ID, and queries arrive unchanged.", checkEscapes),
		named("paths/malformed-ids", "A malformed ID is 404.", checkMalformedIDs),
	}
}

func checkDistinctSlash(t *checker) {
	plain, slashed := t.user.getJSON("/api/conversations?limit=1"), t.user.getJSON("/api/conversations/?pageSize=1")
	t.require(plain.has("conversations") && plain.has("total"), "/api/conversations returns the response of /api/conversations/")
	t.require(slashed.has("results") && slashed.has("nextCursor"), "/api/conversations/ returns the response of /api/conversations")
}

func checkAlternateSlash(t *checker) {
	started := t.user.create("/api/conversations/start/", object{"bot_id": t.bot})
	id := started.str("conversation_id")
	t.deleteConversationLater(id)
	t.user.patch("/api/conversations/"+id, object{"title": "slash", "autoReplyEnabled": false}).json(http.StatusOK)
	t.user.create("/api/conversations/"+id+"/messages/", object{"content": "with a slash"})
	t.user.create("/api/messages", object{"conversation": id, "content": "without a slash"})
	history := t.user.getJSON("/api/conversations/" + id + "/history/")
	t.require(strings.Join(contents(history.list("messages")), "|") == "with a slash|without a slash", "the history has %q", contents(history.list("messages")))
	t.require(t.user.getJSON("/api/conversations/"+id).str("title") == "slash", "the title that was set on the other path is missing")
	t.user.getJSON("/api/me")
}

func checkAliases(t *checker) {
	id := t.user.startWithoutBot()
	for _, path := range []string{"/api/v1/conversations/" + id + "/history", "/conversations/" + id + "/history"} {
		t.require(t.user.getJSON(path).has("messages"), "%s does not return the history", path)
	}
	t.require(t.user.getJSON("/conversations?limit=1").has("conversations"), "/conversations does not return the list")
	t.require(t.user.getJSON("/api/v1/messages/?pageSize=1").has("results"), "/api/v1/messages/ does not return the list")
}

func checkEscapes(t *checker) {
	id := t.user.startWithoutBot()
	got := t.user.get("/api/conversations/" + id + "%2Fhistory")
	t.require(got.status == http.StatusNotFound, "a proxy decodes %%2F: %s: status %d, want 404", got.request, got.status)
	t.user.send(id, "100% a+b & c_d?")
	title := "t" + t.runID
	t.user.patch("/api/conversations/"+id+"/", object{"title": title + " 100%+1&2"}).json(http.StatusOK)
	for _, keyword := range []string{title + "%20100%25", "100%25%2B1%262", title + "+100%25"} {
		found := t.user.getJSON("/api/conversations/?keyword=" + keyword).list("results")
		t.require(len(found) > 0, "the keyword %s finds nothing", keyword)
	}
	none := t.user.getJSON("/api/conversations/?keyword=" + title + "%25%25").list("results")
	t.require(len(none) == 0, "a keyword that no title contains finds something")
}

func checkMalformedIDs(t *checker) {
	for _, id := range []string{"nothing", "0", "00000000-0000-0000-0000-000000000000", "%E5%AD%97", "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e0"} {
		t.user.get("/api/conversations/" + id + "/").expectProblem("not_found")
	}
}
