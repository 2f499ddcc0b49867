package httpapi_test

import (
	"net/http"
	"net/url"
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

// A chatbot may have the name of a model elsewhere, and is found by it as a model, in bodies and in paths.
func TestSlugsMayBeNamesOfModels(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.as("admin", auth.Admin)
	for _, slug := range []string{"gpt-4.1", "meta/llama-3", "qwen2.5:7b-instruct-q4_k_m", "a/b/c"} {
		admin.post("/api/chatbots/", object{"name": "Model", "slug": slug})
		escaped := strings.ReplaceAll(slug, "/", "%2F")
		for _, path := range []string{"/v1/models/" + slug, "/v1/models/" + escaped, "/v1/models/" + url.PathEscape(slug) + "/"} {
			if got := admin.call(http.MethodGet, path, nil).wantStatus(200); got["id"] != slug {
				t.Errorf("%s: %v", path, got)
			}
		}
		if got := admin.call(http.MethodGet, "/api/chatbots/"+escaped+"/", nil).wantStatus(200); got["slug"] != slug {
			t.Errorf("the chatbot %s is %v", slug, got)
		}
		body := chatBody(question)
		body["model"] = slug
		if got := admin.call(http.MethodPost, "/v1/chat/completions", body).wantStatus(200); got["model"] != slug {
			t.Errorf("the completion of %s is of %v", slug, got["model"])
		}
	}
	for _, slug := range []string{"/a", "a/", "a//b", "a/../b", "../a", ".", "a.", "A", "a b", "a%2fb", strings.Repeat("a", 64)} {
		admin.call(http.MethodPost, "/api/chatbots/", object{"name": "Model", "slug": slug}).wantStatus(400)
	}
	for _, path := range []string{"/v1/models/no/such", "/v1/models/a//b", "/v1/models/..%2Fa"} {
		admin.call(http.MethodGet, path, nil).wantStatus(404)
	}
}

var longWord = strings.Repeat("x", 10_000)
