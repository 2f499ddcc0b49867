package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
	"parley/internal/bot"
)

// Model settings are returned as they were set, except for the API key. The key is kept only while the base URL names
// the same server.
func TestModelSettingsLifecycle(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	full := object{
		"baseUrl": "https://models.test/v1", "name": "small", "temperature": 0.2, "historyTokens": 100, "apiKey": modelKey,
		"omit": []any{"stream_options"}, "timeouts": object{"firstToken": 120},
		"parameters": object{"max_tokens": json.Number("12345678901234567890"), "stop": []any{"\n"}},
	}
	once := withHeader("Idempotency-Key", "once")
	made := admin.post("/api/chatbots/", object{"name": "M", "slug": "m", "engine": "openai", "model": full}, once)
	if again := admin.post("/api/chatbots/", object{"name": "M", "slug": "m", "engine": "openai", "model": full}, once); !sameJSON(t, again, made) {
		t.Errorf("the repeat received %v", again)
	}
	want := object{
		"baseUrl": "https://models.test/v1", "name": "small", "temperature": 0.2, "historyTokens": 100, "parameters": full["parameters"], "hasApiKey": true,
		"omit": []any{"stream_options"}, "timeouts": object{"firstToken": 120, "betweenTokens": 30, "total": 600},
	}
	if !sameJSON(t, made["model"], want) || !sameJSON(t, admin.get("/api/chatbots/m/"), made) {
		t.Errorf("%v", made)
	}
	if listed := objects(admin.get("/api/chatbots/"), "results"); !sameJSON(t, listed[0]["model"], want) || listed[1]["model"] != nil {
		t.Errorf("%v", listed)
	}
	if changed := admin.patch("/api/chatbots/m/", object{"greeting": "Hello"}); !sameJSON(t, changed["model"], want) {
		t.Errorf("%v", changed)
	}

	const base, elsewhere = "https://models.test/v1", "https://elsewhere.test/v1"
	least := object{"baseUrl": base, "name": "small", "temperature": nil, "historyTokens": 4000, "parameters": object{}, "hasApiKey": true, "omit": []any{}, "timeouts": object{"firstToken": 60, "betweenTokens": 30, "total": 600}}
	steps := []struct {
		does   string
		model  object
		hasKey bool
	}{
		{"what is left out is unset, but for the key", object{"baseUrl": base, "name": "small"}, true},
		{"a trailing slash is the same server", object{"baseUrl": base + "/", "name": "small"}, true},
		{"null forgets the key", object{"baseUrl": base, "name": "small", "apiKey": nil}, false},
		{"and it does not come back", object{"baseUrl": base, "name": "small"}, false},
		{"a key is set", object{"baseUrl": base, "name": "small", "apiKey": modelKey}, true},
		{"another server does not get it", object{"baseUrl": elsewhere, "name": "small"}, false},
		{"nor does the first one again", object{"baseUrl": base, "name": "small"}, false},
		{"another server gets its own", object{"baseUrl": elsewhere, "name": "small", "apiKey": modelKey}, true},
		{"what was shown can be sent back", object{"baseUrl": elsewhere, "name": "small", "temperature": nil, "historyTokens": 4000, "parameters": object{}, "hasApiKey": true, "omit": []any{}, "timeouts": object{"firstToken": 60, "betweenTokens": 30, "total": 600}}, true},
	}
	for _, step := range steps {
		want := clone(least).(object)
		want["baseUrl"], want["hasApiKey"] = step.model["baseUrl"], step.hasKey
		if changed := admin.patch("/api/chatbots/m/", object{"model": step.model}); !sameJSON(t, changed["model"], want) {
			t.Errorf("%s: %v", step.does, changed["model"])
		}
	}

	admin.call(http.MethodPatch, "/api/chatbots/m/", object{"model": nil}).wantProblem(400, "invalid_request", "/model")
	if changed := admin.patch("/api/chatbots/m/", object{"model": nil, "engine": "faq"}); changed["model"] != nil || changed["engine"] != "faq" {
		t.Errorf("%v", changed)
	}
	admin.call(http.MethodPatch, "/api/chatbots/m/", object{"engine": "openai"}).wantProblem(400, "invalid_request", "/model")
	if changed := admin.patch("/api/chatbots/m/", object{"engine": "openai", "model": object{"baseUrl": base, "name": "small"}}); changed["model"].(object)["hasApiKey"] != false {
		t.Errorf("the previous key is still set: %v", changed)
	}
}

// Model settings that the schema cannot exclude are rejected as well.
func TestInvalidModelSettingsAreRejected(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	admin.call(http.MethodPost, "/api/chatbots/", object{"name": "M", "engine": "openai"}).wantProblem(400, "invalid_request", "/model")
	admin.call(http.MethodPost, "/api/chatbots/", object{"name": "M", "engine": "openai", "model": nil}).wantProblem(400, "invalid_request", "/model")
	for _, base := range []string{"", "models.test", "ftp://models.test", "https://", "https://u:p@models.test", "https://u@models.test/v1", "https://models.test/v1?key=x", "https://models.test/v1?", "https://models.test/#a", "https://models.test/#", "http://[::1/", "https:///v1"} {
		model := object{"baseUrl": base, "name": "small"}
		admin.call(http.MethodPatch, "/api/chatbots/parley/", object{"model": model}).wantProblem(400, "invalid_request", "/model/baseUrl")
	}
	for _, name := range []string{"messages", "model", "stream", "stream_options", "n", "Stream"} {
		model := object{"baseUrl": "http://localhost:11434/v1", "name": "small", "parameters": object{name: 1}}
		admin.call(http.MethodPatch, "/api/chatbots/parley/", object{"model": model}).wantProblem(400, "invalid_request", "/model/parameters/"+name)
	}
	long := object{"baseUrl": "http://localhost:11434/v1", "name": "small", "parameters": object{"x": strings.Repeat("x", 16<<10)}}
	admin.call(http.MethodPatch, "/api/chatbots/parley/", object{"model": long}).wantProblem(400, "invalid_request", "/model/parameters")
	for pointer, model := range map[string]object{
		"/model/apiKey":      {"baseUrl": "http://localhost/v1", "name": "small", "apiKey": "two words"},
		"/model/name":        {"baseUrl": "http://localhost/v1", "name": " "},
		"/model/temperature": {"baseUrl": "http://localhost/v1", "name": "small", "temperature": 2.5},
	} {
		admin.call(http.MethodPatch, "/api/chatbots/parley/", object{"model": model}).wantProblem(400, "invalid_request", pointer)
	}
	if shown := admin.get("/api/chatbots/parley/"); shown["model"] != nil {
		t.Errorf("%v", shown)
	}
	member := admin.as("member", auth.Chat, auth.Agent, auth.RecordsWrite)
	member.call(http.MethodPatch, "/api/chatbots/parley/", object{"model": object{"baseUrl": "http://localhost/v1", "name": "small"}}).wantProblem(403, "forbidden", "")
}

// An encrypted key cannot be decrypted after it was copied to another bot's row. The error explains what to do.
func TestModelKeyIsBoundToItsChatbot(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	o.expectFailures()
	upstream := serveModel(t, streamGoodDay)
	admin := o.withModel(upstream)
	admin.post("/api/chatbots/", object{"name": "M", "slug": "m", "engine": "openai", "model": object{"baseUrl": upstream.URL, "name": "small"}})
	if _, err := o.sql.Exec(t.Context(), "UPDATE bots SET model_key = (SELECT model_key FROM bots WHERE slug = 'parley') WHERE slug = 'm'"); err != nil {
		t.Fatal(err)
	}
	got := admin.call(http.MethodPost, "/api/chatbots/m/completions/", completionBody("Hello?", false)).wantProblem(500, "internal", "")
	if !strings.Contains(text(got, "detail"), "set again") || len(upstream.asked) != 0 {
		t.Errorf("%v, the model was sent %v", got, upstream.asked)
	}
}

// A string, or an object without a base URL, names the model that the operator has configured. The chatbot answers with
// it, and its key goes to no other server.
func TestAStringNamesTheOperatorsModel(t *testing.T) {
	t.Parallel()
	upstream := serveModel(t, streamGoodDay)
	admin := serveWith(t, settings{bots: []bot.Option{bot.WithModel("small", upstream.URL, "sk-operator")}}).organization().as("admin", auth.Admin)
	for i, model := range []any{"small", object{"name": "small", "temperature": 0.5}, object{"name": "small", "api_key": "sk-own"}} {
		made := admin.post("/api/v1/chatbots/", object{"name": fmt.Sprint("Bot ", i), "model": model, "rag": "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e00"})
		shown := made["model"].(object)
		if made["engine"] != "openai" || shown["baseUrl"] != upstream.URL || shown["name"] != "small" || shown["hasApiKey"] != true {
			t.Errorf("%v: %v", model, made)
		}
		got := admin.call(http.MethodPost, "/api/chatbots/"+text(made, "id")+"/completions/", completionBody("Hello?", false)).wantStatus(200)
		wantKey := "Bearer sk-operator"
		if i == 2 {
			wantKey = "Bearer sk-own"
		}
		if _, key := upstream.last(); key != wantKey || got["finishReason"] != "stop" {
			t.Errorf("%v: the model was sent the key %q and answered %v", model, key, got)
		}
	}
	if changed := admin.call(http.MethodPut, "/api/chatbots/parley/", object{"model": "small"}).wantStatus(200); changed["engine"] != "openai" {
		t.Errorf("PUT changed the chatbot to %v", changed)
	}
	if changed := admin.patch("/api/chatbots/parley/", object{"model": "small", "engine": "faq"}); changed["engine"] != "faq" || changed["model"].(object)["name"] != "small" {
		t.Errorf("PATCH with an engine changed the chatbot to %v", changed)
	}
	moved := admin.patch("/api/chatbots/parley/", object{"model": object{"name": "small", "baseUrl": "https://models.example.com/v1"}})
	if moved["model"].(object)["hasApiKey"] != false {
		t.Errorf("on another server the model is %v", moved["model"])
	}
	for _, unknown := range []any{"large", "019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e00", object{"name": "Small"}} {
		problem := admin.call(http.MethodPost, "/api/chatbots/", object{"name": "X", "model": unknown}).wantProblem(400, "invalid_request", "/model")
		if !strings.Contains(fmt.Sprint(problem["errors"]), "small") {
			t.Errorf("%v: the problem does not name the model that there is: %v", unknown, problem)
		}
	}
	without := serve(t).organization().as("admin", auth.Admin)
	without.call(http.MethodPatch, "/api/chatbots/parley/", object{"model": "small"}).wantProblem(400, "invalid_request", "/model")
}
