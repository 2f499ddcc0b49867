package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"parley/internal/auth"
)

// logRecorder collects a log.
type logRecorder struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write appends a line.
func (r *logRecorder) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(line)
}

// INVARIANT: secrets and contents appear in no log, even at debug level, and in no response except the one that
// creates them. Secrets are keys, client tokens, tickets and the API keys of models.
func TestSecretsAreNeitherLoggedNorExposed(t *testing.T) {
	t.Parallel()
	log := &logRecorder{}
	s := serveWith(t, settings{log: log})
	o := s.organization()
	admin, me := o.as("admin", auth.Admin), o.as("me", auth.Chat)
	const said, modelKey = "said-in-confidence", "sk-model-in-confidence"
	own := me.createResources()
	model := admin.post("/api/chatbots/", object{"name": "Clever", "engine": "openai", "model": object{"baseUrl": "http://127.0.0.1:1/v1", "name": "m", "apiKey": modelKey}})
	// One server cannot be reached. Two repeat the request: in a refusal, and in an invalid response.
	models := []string{text(model, "id")}
	for _, status := range []int{http.StatusUnprocessableEntity, http.StatusOK} {
		echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, "data: {\"error\": {\"code\": %s}}\n\ndata: %s ]\n\n", asked, asked)
		}))
		t.Cleanup(echo.Close)
		made := admin.post("/api/chatbots/", object{"name": "Echo", "engine": "openai", "model": object{"baseUrl": echo.URL + "/v1", "name": "m", "apiKey": modelKey}})
		models = append(models, text(made, "id"))
	}
	secrets := []string{said, modelKey, me.key, admin.key, strings.Split(me.key, ".")[1], strings.Split(admin.key, ".")[1]}
	var answers []answer
	ask := func(c caller, method, path string, body any, options ...option) answer {
		got := c.call(method, path, body, options...)
		answers = append(answers, got)
		return got
	}
	keep := func(got answer, field string) string {
		secrets = append(secrets, text(got.json(), field))
		return text(got.json(), field)
	}
	// given secrets of each kind in valid and invalid requests, and messages in each operation
	token := keep(me.call(http.MethodPost, "/api/client-tokens/", object{"conversation": own["conversations"]}), "token")
	ticket := keep(me.call(http.MethodPost, "/api/ws-tickets/", object{}), "ticket")
	spare := keep(admin.call(http.MethodPost, "/api/api-keys/", object{"name": "Spare"}), "key")
	for _, credentials := range []string{"Bearer " + token, "Bearer " + token + "x", "Bearer " + ticket, "Basic " + me.key, me.key, "Api-Key " + spare, "Bearer " + spare + "x", "Bearer " + strings.ToUpper(me.key)} {
		ask(me, http.MethodGet, "/api/conversations/"+own["conversations"]+"/history", nil, withHeader("Authorization", credentials))
	}
	for range 2 {
		answers = append(answers, s.call(http.MethodGet, "/ws?ticket="+ticket, nil, upgrade))
		answers = append(answers, s.call(http.MethodGet, "/ws", nil, upgrade, withHeader("Sec-WebSocket-Protocol", "bearer, "+token)))
	}
	for _, op := range operations {
		if op.jsonBody() == nil {
			continue
		}
		for _, body := range []any{`{"content": "` + said + `"`, object{"content": object{said: said}, "message": said, "messages": said, "name": []string{said}, "operations": said, "webChat": object{said: said}, "initial_message": []string{said}}, said} {
			ask(admin, op.method, op.pathOf(own), body)
		}
	}
	s.expectFailures() // the model servers do not reply
	for _, asked := range append(models, own["chatbots"]) {
		for _, isStreaming := range []bool{false, true} {
			me.call(http.MethodPost, "/api/chatbots/"+asked+"/completions/", object{"message": object{"content": said}, "isStreaming": isStreaming})
		}
	}
	me.call(http.MethodPost, "/v1/chat/completions", object{"model": text(model, "slug"), "messages": []object{{"role": "user", "content": said}}})
	admin.call(http.MethodGet, "/api/chatbots/"+text(model, "id")+"/", nil).wantStatus(200)
	answers = append(answers, admin.call(http.MethodGet, "/api/chatbots/", nil), admin.call(http.MethodGet, "/api/api-keys/", nil), admin.call(http.MethodGet, "/api/audit-events/", nil))
	me.awaitRun(text(me.sendMessage(own["conversations"], said), "run_id"))
	// then none of them appears in the log or in a response
	log.mu.Lock()
	defer log.mu.Unlock()
	if !strings.Contains(log.text.String(), "msg=request") {
		t.Fatal("nothing was logged")
	}
	for _, secret := range secrets {
		if at := strings.Index(log.text.String(), secret); at >= 0 {
			t.Errorf("the log contains %q: %s", secret, log.text.String()[max(0, at-200):at+len(secret)])
		}
		for _, got := range answers {
			if strings.Contains(string(got.body), secret) {
				t.Errorf("%s exposes %q: %s", got.request, secret, got.body)
			}
		}
	}
}
