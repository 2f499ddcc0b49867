package httpapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"parley/internal/auth"
)

// Canonically equivalent texts are equal in every filter: composed text is found by a decomposed keyword and the reverse,
// in any case, with white space around it. Stored texts are returned as they were sent.
func TestFiltersFindCanonicallyEquivalentText(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Admin)
	webChat := o.webChat.ID
	for _, word := range []string{"Café crème", "ガイドブック", "환불 요청", "Tiếng Việt ậ", "a\u0323\u0302b\u0307\u0323", "\u212bngstr\u00f6m", "〈括弧〉"} {
		composed, decomposed := norm.NFC.String(word), norm.NFD.String(word)
		for _, stored := range []string{composed, decomposed, word} {
			// given a title, a message, a contact and a record with the text
			contact := alice.post("/api/contacts/", object{"name": "Name " + stored})
			titled := text(alice.post("/api/conversations/", object{"webChat": webChat}), "id")
			alice.patch("/api/conversations/"+titled+"/", object{"title": "Title " + stored})
			answered := alice.call(http.MethodPost, completions, object{"message": object{"content": "Message " + stored}}).wantStatus(http.StatusOK)
			conversation := text(answered, "conversationId")
			if got := alice.history(conversation)[0]["content"]; got != "Message "+stored {
				t.Errorf("%q is returned as %q", "Message "+stored, got)
			}
			o.exec("UPDATE records SET output_message = $1 WHERE session_id = $2", "Answer "+stored, conversation)
			for _, keyword := range []string{composed, decomposed, strings.ToUpper(composed), norm.NFD.String(strings.ToUpper(decomposed)), "\u3000 " + decomposed + "\n"} {
				query := url.QueryEscape(keyword)
				find := func(path, key, want string) {
					t.Helper()
					for _, row := range objects(alice.get(path), "results") {
						if row[key] == want {
							return
						}
					}
					t.Errorf("%+q is not found by %+q: %s", stored, keyword, path)
				}
				find("/api/conversations/?pageSize=100&keyword="+query, "id", titled)
				find("/api/conversations/?pageSize=100&keyword="+query, "id", conversation)
				find("/api/contacts/?pageSize=100&query="+query, "id", text(contact, "id"))
				find("/api/chatbots/parley/records/"+withDays("pageSize=100&userMessage="+query), "conversation", conversation)
				find("/api/chatbots/parley/records/"+withDays("pageSize=100&botMessage="+query), "conversation", conversation)
			}
		}
	}
	// A filter of white space alone has no effect.
	for path, key := range map[string]string{"/api/contacts/?query=%20": "count", "/api/chatbots/parley/records/" + withDays("userMessage=%20"): "count"} {
		if got := alice.get(path); number(got, key) < 20 {
			t.Errorf("%s: %v", path, got[key])
		}
	}
	if got := objects(alice.get("/api/conversations/?pageSize=100&keyword=%20"), "results"); len(got) < 40 {
		t.Errorf("a keyword of white space finds %d conversations", len(got))
	}
}
