package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
)

// Chat completions are also available below /api, where clients of the Chatbots family expect them. Their errors have
// OpenAI's format.
func TestChatCompletionsHaveAliases(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	for _, path := range []string{"/api/v1/chat/completions", "/api/chat/completions", "/api/v1/chat/completions/"} {
		answer := alice.call(http.MethodPost, path, chatBody(question)).wantStatus(200)
		if said := objects(answer, "choices")[0]["message"].(object)["content"]; said != longAnswer {
			t.Errorf("%s: %v", path, answer)
		}
		failure := alice.call(http.MethodPost, path, object{"model": "nobody", "messages": []any{}}).wantStatus(400)
		if _, isOpenAI := failure["error"].(object); !isOpenAI {
			t.Errorf("%s: the error is %v", path, failure)
		}
	}
}

// The error for an unknown path below /v1, or without /v1, names the request and suggests the right path.
func TestUnknownOpenAIPathsHaveAHint(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	for path, hints := range map[string][]string{
		"/v1/embeddings":             {"POST /v1/embeddings", "POST /v1/chat/completions", "GET /v1/models"},
		"/v1/audio/" + longWord:      {"POST /v1/audio/", "POST /v1/chat/completions"},
		"/chat/completions":          {"POST /chat/completions", "must end with /v1"},
		"/responses":                 {"POST /responses", "must end with /v1"},
		"/models/gpt-4o/permissions": {"must end with /v1"},
	} {
		failure, isOpenAI := alice.call(http.MethodPost, path, object{}).wantStatus(404)["error"].(object)
		if !isOpenAI || failure["code"] != "not_found" {
			t.Errorf("%s: %v", path, failure)
			continue
		}
		for _, hint := range hints {
			if message := text(failure, "message"); !strings.Contains(message, hint) || len(message) > 400 {
				t.Errorf("%.40s: %q does not contain %q", path, message, hint)
			}
		}
	}
}

var longWord = strings.Repeat("x", 10_000)
