//go:build sdk && browser

package main

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

//go:embed testdata/openai.html
var openAIPage []byte

// OpenAI's SDK works in a page of an allowed origin, with a client token in place of an API key.
func TestOpenAISDKWorksInABrowser(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(new(scriptedModel))
	defer upstream.Close()
	var setting object
	reported := make(chan object, 1)
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(openAIPage)
	})
	pages.Handle("GET /openai/", http.StripPrefix("/openai/", http.FileServer(http.Dir("../../tools/node_modules/openai"))))
	pages.HandleFunc("GET /setting", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(setting) })
	pages.HandleFunc("POST /found", func(_ http.ResponseWriter, r *http.Request) {
		var report object
		_ = json.NewDecoder(r.Body).Decode(&report) // an empty report fails the test
		reported <- report
	})
	site := httptest.NewUnstartedServer(pages)
	defer site.Close()
	server := serving(t, newDir(t), "PARLEY_ALLOWED_ORIGINS="+originOf(site))
	admin := server.client(server.key)
	admin.call("POST", "/api/chatbots/", object{
		"name": "Clever", "slug": "clever", "engine": "openai", "model": object{"baseUrl": upstream.URL, "name": "small"},
	}, http.StatusCreated, nil)
	var made struct{ Token string }
	admin.call("POST", "/api/client-tokens/", object{"chatbot": "clever", "origin": originOf(site)}, http.StatusCreated, &made)
	server.secrets = append(server.secrets, made.Token)
	setting = object{"server": server.base, "token": made.Token}
	site.Start()

	browserLog := browse(t, originOf(site)+"/")
	select {
	case report := <-reported:
		if report["whole"] != "Good day" || report["streamed"] != "Good day" || report["refused"] != "NotFoundError" || report["code"] != "model_not_found" || report["requestId"] == nil {
			t.Errorf("the page reports %v", report)
		}
	case <-time.After(testTimeout):
		t.Errorf("no report; output of the browser:\n%s", browserLog)
	}
	server.stop()
}
