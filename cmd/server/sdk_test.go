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

// OpenAI's own SDK for Node drives a server: tools/sdk.mjs has what it must find.
func TestOpenAIsSDKDrivesTheServer(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"Good day"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":3}}`)
	}))
	defer upstream.Close()

	// given a server with a bot that a model answers for, one that takes its time, and one that breaks off
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

	// when the SDK asks it, all is as the SDK has it
	began := time.Now()
	script := exec.CommandContext(t.Context(), "node", "../../tools/sdk.mjs")
	script.Env = []string{"PATH=" + os.Getenv("PATH"), "PARLEY=" + server.base, "KEY=" + keys["alice"], "LIMITED_KEY=" + keys["impatient"], "LIMIT=30"}
	said, err := script.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "# pass ") {
		t.Errorf("%v\n%s", err, said)
	}
	t.Logf("after %s:\n%s", time.Since(began).Round(time.Second), said)
	server.stop()
}
