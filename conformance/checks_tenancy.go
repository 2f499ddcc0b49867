package conformance

import (
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
)

func tenancyChecks() []check {
	return []check{
		{name: "tenancy/unknown-ids", holds: "What does not exist, or not for this organization, is 404 in every path.", ask: unknownIDsAre404},
		{name: "tenancy/unknown-references", holds: "It is refused in bodies, queries and sockets too.", ask: unknownReferencesAreRefused},
		{name: "tenancy/others-conversations", holds: "Another user's conversation is 403 without the scope agent, and is not listed.", ask: othersConversationsAre403},
	}
}

// unknownIDsAre404 asks every operation of the document that gets one thing for one that there is not.
func unknownIDsAre404(t *trial) {
	if t.seen.document == nil {
		t.fail("there is no document that says which operations there are")
	}
	asked := 0
	for path, item := range t.seen.document.Paths.Map() {
		if item.Get == nil || !strings.Contains(path, "{") || strings.HasPrefix(path, "/problems/") {
			continue
		}
		scopes, _ := item.Get.Extensions["x-scopes"].([]any)
		if !slices.ContainsFunc(scopes, func(scope any) bool { text, _ := scope.(string); return t.has(text) }) {
			continue
		}
		for from := strings.Index(path, "{"); from >= 0; from = strings.Index(path, "{") {
			path = path[:from] + uuid.Must(uuid.NewV7()).String() + path[strings.Index(path, "}")+1:]
		}
		if strings.Contains(path, "/records/") || strings.HasSuffix(path, "/statistics/") {
			path += "?startDate=2026-01-01&endDate=2026-01-01"
		}
		got := t.owner().get(path)
		t.must(got.status == http.StatusNotFound, "%s, which does not exist, is answered with %d", got.asked, got.status)
		asked++
	}
	t.must(asked > 3, "the document has only %d operations that get one thing", asked)
}

func unknownReferencesAreRefused(t *trial) {
	user := t.user()
	unknown := uuid.Must(uuid.NewV7()).String()
	user.post("/api/messages/", object{"conversation": unknown, "content": "x"}).refused(http.StatusNotFound, "not_found")
	user.post("/api/conversations/start", object{"bot_id": unknown}).refused(http.StatusNotFound, "not_found")
	user.post("/api/conversations/", object{"webChat": unknown}).refused(http.StatusNotFound, "not_found")
	user.post(t.completions(), question("x", unknown, false)).refused(http.StatusNotFound, "not_found")
	user.post(t.completions(), question("x", unknown, true)).refused(http.StatusNotFound, "not_found")
	user.post("/api/client-tokens/", object{"conversation": unknown}).refused(http.StatusNotFound, "not_found")
	user.get("/api/messages/?conversation="+unknown).refused(http.StatusNotFound, "not_found")
	user.get("/api/conversations?bot_id="+unknown).refused(http.StatusNotFound, "not_found")
	user.get("/api/conversations/?inbox="+unknown).refused(http.StatusNotFound, "not_found")
}

func othersConversationsAre403(t *trial) {
	user, another := t.user(), t.another()
	id := user.quiet()
	message := user.say(id, "x").str("message_id")
	another.get("/api/conversations/"+id+"/history").refused(http.StatusForbidden, "forbidden")
	another.get("/api/conversations/"+id+"/").refused(http.StatusForbidden, "forbidden")
	another.get("/api/messages/"+message+"/").refused(http.StatusForbidden, "forbidden")
	another.post("/api/conversations/"+id+"/messages", object{"content": "x"}).refused(http.StatusForbidden, "forbidden")
	another.call(http.MethodDelete, "/api/conversations/"+id+"/", nil).refused(http.StatusForbidden, "forbidden")
	listed := another.get("/api/conversations?limit=100").gives(http.StatusOK).list("conversations")
	t.must(!slices.ContainsFunc(listed, func(one object) bool { return one.str("id") == id }), "another user's conversation is listed")
}
