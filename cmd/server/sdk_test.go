//go:build sdk

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// OpenAI's SDK for Node works with a server. tools/sdk.mjs has the assertions.
func TestOpenAISDKWorks(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"Good day"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":3}}`)
	}))
	defer upstream.Close()

	// given: chatbots with a model, with slow replies, and with failing replies
	server := serving(t, newDir(t), "PARLEY_RATE_LIMITS=messages=30")
	admin := server.client(server.key)
	for slug, settings := range map[string]object{
		"clever": {"engine": "openai", "model": object{"baseUrl": upstream.URL, "name": "small"}},
		"slow":   {"engine": "scripted", "script": object{"rules": []object{{"deltas": slices.Repeat([]string{"and so on "}, 50), "delayMs": 40}}}},
		"broken": {"engine": "scripted", "script": object{"rules": []object{{"deltas": []string{"One ", "two"}, "failAfter": 1}}}},
	} {
		settings["name"], settings["slug"] = slug, slug
		admin.call("POST", "/api/chatbots/", settings, http.StatusCreated, nil)
	}
	keys := map[string]string{}
	for _, user := range []string{"alice", "impatient"} {
		var made struct{ Key string }
		admin.call("POST", "/api/api-keys/", object{"name": user, "user": user, "scopes": []string{"chat"}}, http.StatusCreated, &made)
		keys[user] = made.Key
		server.secrets = append(server.secrets, secretOf(made.Key))
	}

	// when: the script runs, then all its tests pass
	began := time.Now()
	script := exec.CommandContext(t.Context(), "node", "../../tools/sdk.mjs")
	script.Env = []string{"PATH=" + os.Getenv("PATH"), "PARLEY=" + server.base, "KEY=" + keys["alice"], "LIMITED_KEY=" + keys["impatient"], "LIMIT=30"}
	output, err := script.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "# pass ") {
		t.Errorf("%v\n%s", err, output)
	}
	t.Logf("after %s:\n%s", time.Since(began).Round(time.Second), output)
	server.stop()
}
