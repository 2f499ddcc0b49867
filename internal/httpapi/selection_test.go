package httpapi_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"parley/internal/auth"
)

// queryMetadata restricts retrieval to entries that any of the knowledge bases selects and whose labels satisfy the
// relations. Empty and unknown conditions restrict nothing.
func TestQueryMetadataRestrictsRetrieval(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	admin.post("/api/chatbots/", object{"name": "Shop", "slug": "shop", "unanswerableReply": noAnswer})
	ids := map[string]string{}
	for answer, labels := range map[string][]string{"In Rome.": {"Rome", "shop"}, "In Oslo.": {"oslo", "shop"}, "Nowhere.": {}} {
		made := admin.post("/api/chatbots/shop/faqs/", object{"question": "Where is the shop?", "answer": answer, "labels": labels})
		ids[answer] = text(made, "id")
	}
	ask := func(metadata string) string {
		answer := admin.call(http.MethodPost, "/api/chatbots/shop/completions/", object{"message": object{"content": "Where is the shop?", "queryMetadata": json.RawMessage(metadata)}}).wantStatus(200)
		return text(answer, "content")
	}
	only := func(answer string) string { return `"faq_ids": ["` + ids[answer] + `"]` }
	for metadata, want := range map[string]string{
		`{"knowledge_bases": [{` + only("In Rome.") + `}]}`:                                                                                                                 "In Rome.",
		`{"knowledge_bases": [{"knowledge_base_id": "any", ` + only("Nowhere.") + `, "has_user_selected_all": "False"}]}`:                                                   "Nowhere.",
		`{"knowledge_bases": [{"has_user_selected_all": false, "faq_ids": ["no id"]}, {` + only("In Oslo.") + `}]}`:                                                         "In Oslo.",
		`{"knowledge_bases": [{"has_user_selected_all": false}]}`:                                                                                                           noAnswer,
		`{"knowledge_bases": [{"faq_ids": ["` + text(admin.get("/api/chatbots/parley/"), "id") + `"]}]}`:                                                                    noAnswer,
		`{"label_relations": {"conditions": ["ROME"]}}`:                                                                                                                     "In Rome.",
		`{"label_relations": {"operator": "AND", "conditions": ["shop", "oslo"]}}`:                                                                                          "In Oslo.",
		`{"label_relations": {"operator": "AND", "conditions": ["rome", "oslo"]}}`:                                                                                          noAnswer,
		`{"label_relations": {"operator": "OR", "conditions": ["oslo", "none"]}}`:                                                                                           "In Oslo.",
		`{"label_relations": {"operator": "OR", "conditions": ["none", {"operator": "AND", "conditions": ["shop", {"operator": "OR", "conditions": ["rome", "paris"]}]}]}}`: "In Rome.",
		`{"label_relations": {"conditions": ["shop"]}, "knowledge_bases": [{` + only("In Oslo.") + `, "more": 1}]}`:                                                         "In Oslo.",
		`{"label_relations": {"conditions": ["shop"]}, "knowledge_bases": [{` + only("Nowhere.") + `}]}`:                                                                    noAnswer,
	} {
		if got := ask(metadata); got != want {
			t.Errorf("%s: %q, want %q", metadata, got, want)
		}
	}
	for _, metadata := range []string{
		`{}`, `{"knowledge_bases": []}`, `{"label_relations": {}}`, `{"label_relations": {"operator": "OR", "conditions": []}}`,
		`{"knowledge_bases": [{"has_user_selected_all": "True", "faq_ids": []}]}`, `{"knowledge_bases": [{"faq_ids": []}]}`, `{"Knowledge_Bases": [{"faq_ids": ["x"]}]}`,
	} {
		if got := ask(metadata); got == noAnswer {
			t.Errorf("%s: %q", metadata, got)
		}
	}
}
