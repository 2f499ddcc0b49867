//go:build sdk

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// scriptedModel is a model server. It calls the function weather if the request has tools and no
// result yet, returns JSON if the request has a schema, and records all requests.
type scriptedModel struct {
	mu       sync.Mutex
	requests [][]byte
	answered int
}

// ServeHTTP serves chat completions, and the recorded requests that contain a text.
func (m *scriptedModel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/requests" {
		m.serveRequests(w, r.URL.Query().Get("text"))
		return
	}
	body, _ := io.ReadAll(r.Body) // an error leaves invalid JSON
	m.mu.Lock()
	m.requests = append(m.requests, body)
	m.mu.Unlock()
	var request struct {
		Messages       []struct{ Role string }
		Tools          []json.RawMessage
		ResponseFormat *struct{ Type string } `json:"response_format"`
	}
	if err := json.Unmarshal(body, &request); err != nil || len(request.Messages) == 0 {
		http.Error(w, "not a chat completion", http.StatusBadRequest)
		return
	}
	last := request.Messages[len(request.Messages)-1].Role
	switch {
	case bytes.Contains(body, []byte("too long")):
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}`)
	case bytes.Contains(body, []byte("broken")):
		http.Error(w, "out of memory", http.StatusInternalServerError)
	case last == "tool":
		m.reply(w, `{"content":"It rains "}`, `{"content":"in Taipei."}`)
	case len(request.Tools) > 0:
		m.reply(w, `{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":""}}]}`,
			`{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":"}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":"\"Taipei\"}"}}]}`)
	case request.ResponseFormat != nil && request.ResponseFormat.Type == "json_schema":
		m.reply(w, `{"content":"{\"city\":\"Taipei\","}`, `{"content":"\"sunny\":false}"}`)
	default:
		m.reply(w, `{"content":"Good "}`, `{"content":"day"}`)
	}
}

// reply streams a reply.
func (m *scriptedModel) reply(w http.ResponseWriter, deltas ...string) {
	m.mu.Lock()
	m.answered++
	m.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	reason := "stop"
	for _, delta := range deltas {
		if strings.Contains(delta, "tool_calls") {
			reason = "tool_calls"
		}
		fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":%s}]}\n\n", delta)
	}
	fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":%q}]}\n\n", reason)
	_, _ = io.WriteString(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3,\"total_tokens\":15}}\n\ndata: [DONE]\n\n")
}

func (m *scriptedModel) serveRequests(w http.ResponseWriter, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := []json.RawMessage{}
	for _, request := range m.requests {
		if bytes.Contains(request, []byte(text+`"`)) {
			found = append(found, request)
		}
	}
	_ = json.NewEncoder(w).Encode(found) // the script notices
}

// Clients of OpenAI's API work with a server whose chatbot passes requests on. tools/clients.mjs and
// e2e/openaigo have the assertions.
func TestClientsOfOpenAIsAPIWork(t *testing.T) {
	t.Parallel()
	model := new(scriptedModel)
	upstream := httptest.NewServer(model)
	defer upstream.Close()
	server := serving(t, newDir(t), "PARLEY_RATE_LIMITS=0")
	admin := server.client(server.key)
	admin.call("POST", "/api/chatbots/", object{
		"name": "Clever", "slug": "clever", "engine": "openai", "model": object{"baseUrl": upstream.URL, "name": "small"},
	}, http.StatusCreated, nil)
	var made struct{ ID, Key string }
	admin.call("POST", "/api/api-keys/", object{"name": "clients", "user": "alice", "scopes": []string{"chat"}}, http.StatusCreated, &made)
	server.secrets = append(server.secrets, secretOf(made.Key))

	for _, command := range [][]string{{"node", "../../tools/clients.mjs"}, {"go", "run", "-C", "../../e2e", "./openaigo"}} {
		script := exec.CommandContext(t.Context(), command[0], command[1:]...)
		script.Env = append(os.Environ(), "PARLEY="+server.base, "UPSTREAM="+upstream.URL, "KEY="+made.Key)
		output, err := script.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v", command, err)
		}
		t.Logf("%s", output)
	}
	checkStatelessUsage(t, admin, model, made.ID)
	server.stop()
}

// checkStatelessUsage checks that the completions of the key, none of which was stored, are counted
// with their tokens.
func checkStatelessUsage(t *testing.T, admin client, model *scriptedModel, key string) {
	t.Helper()
	var usage struct {
		Results []struct {
			Completions, Failures, PromptTokens, CompletionTokens int
			APIKey                                                struct{ ID string }
			Chatbot                                               struct{ Slug string }
		}
	}
	today := time.Now().UTC()
	path := "/api/stateless-usage/?startDate=" + today.AddDate(0, 0, -1).Format(time.DateOnly) + "&endDate=" + today.Format(time.DateOnly)
	eventually(t, "all completions are counted", func() bool {
		admin.call("GET", path, nil, http.StatusOK, &usage)
		succeeded, failed := 0, 0
		for _, row := range usage.Results {
			succeeded, failed = succeeded+row.Completions-row.Failures, failed+row.Failures
		}
		model.mu.Lock()
		defer model.mu.Unlock()
		return succeeded == model.answered && failed == 4 // two of each script
	})
	for _, row := range usage.Results {
		succeeded := row.Completions - row.Failures
		if row.APIKey.ID != key || row.PromptTokens != 12*succeeded || row.CompletionTokens != 3*succeeded {
			t.Errorf("the usage is %+v", row)
		}
	}
}
