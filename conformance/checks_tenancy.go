package conformance

import (
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
)

func tenancyChecks() []check {
	return []check{
		named("tenancy/unknown-ids", "An ID that does not exist, or not in this organization, is 404 in every path.", checkUnknownIDs),
		named("tenancy/unknown-references", "Unknown IDs in bodies and queries are 404.", checkUnknownReferences),
		named("tenancy/foreign-conversations", "Another user's conversation is 403 without the scope agent, and is not listed.", checkForeignConversations),
	}
}

// checkUnknownIDs sends an unknown ID to every operation of the document that returns one resource.
func checkUnknownIDs(t *checker) {
	if t.validator.document == nil {
		t.fatalf("the deployment serves no valid document")
	}
	count := 0
	for path, item := range t.validator.document.Paths.Map() {
		if item.Get == nil || !strings.Contains(path, "{") || strings.HasPrefix(path, "/problems/") {
			continue
		}
		scopes, _ := item.Get.Extensions["x-scopes"].([]any)
		if !slices.ContainsFunc(scopes, func(scope any) bool { text, _ := scope.(string); return t.hasScope(text) }) {
			continue
		}
		for i := strings.Index(path, "{"); i >= 0; i = strings.Index(path, "{") {
			path = path[:i] + uuid.Must(uuid.NewV7()).String() + path[strings.Index(path, "}")+1:]
		}
		if strings.Contains(path, "/records/") || strings.HasSuffix(path, "/statistics/") {
			path += "?startDate=2026-01-01&endDate=2026-01-01"
		}
		got := t.owner().get(path)
		t.require(got.status == http.StatusNotFound, "%s, which does not exist: status %d, want 404", got.request, got.status)
		count++
	}
	t.require(count > 3, "the document has only %d operations that return one resource", count)
}

func checkUnknownReferences(t *checker) {
	unknown := uuid.Must(uuid.NewV7()).String()
	t.user.post("/api/messages/", object{"conversation": unknown, "content": "x"}).expectProblem("not_found")
	t.user.post("/api/conversations/start", object{"bot_id": unknown}).expectProblem("not_found")
	t.user.post("/api/conversations/", object{"webChat": unknown}).expectProblem("not_found")
	t.user.post(t.completionsPath(), question("x", unknown, false)).expectProblem("not_found")
	t.user.post(t.completionsPath(), question("x", unknown, true)).expectProblem("not_found")
	t.user.post("/api/client-tokens/", object{"conversation": unknown}).expectProblem("not_found")
	t.user.get("/api/messages/?conversation=" + unknown).expectProblem("not_found")
	t.user.get("/api/conversations?bot_id=" + unknown).expectProblem("not_found")
	t.user.get("/api/conversations/?inbox=" + unknown).expectProblem("not_found")
}

func checkForeignConversations(t *checker) {
	other := t.otherUser()
	id := t.user.startWithoutBot()
	message := t.user.send(id, "x").str("message_id")
	other.get("/api/conversations/" + id + "/history").expectProblem("forbidden")
	other.get("/api/conversations/" + id + "/").expectProblem("forbidden")
	other.get("/api/messages/" + message + "/").expectProblem("forbidden")
	other.post("/api/conversations/"+id+"/messages", object{"content": "x"}).expectProblem("forbidden")
	other.call(http.MethodDelete, "/api/conversations/"+id+"/", nil).expectProblem("forbidden")
	listed := other.getJSON("/api/conversations?limit=100").list("conversations")
	t.require(!containsID(listed, id), "another user's conversation is listed")
}
