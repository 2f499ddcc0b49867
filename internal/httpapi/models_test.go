package httpapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/internal/auth"
)

const (
	modelKey = "sk-hushhushhush"
	// modelWords is text of the model server that no caller may receive.
	modelWords = "the upstream's own words"
)

// modelServer is an OpenAI-compatible server that records its requests.
type modelServer struct {
	*httptest.Server
	mu    sync.Mutex
	asked []object
	keys  []string
}

func serveModel(t *testing.T, answer http.HandlerFunc) *modelServer {
	t.Helper()
	m := &modelServer{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body object
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Errorf("the request's body: %v", err)
		}
		m.mu.Lock()
		m.asked = append(m.asked, body)
		m.keys = append(m.keys, r.Header.Get("Authorization"))
		m.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

// last returns the messages and the Authorization header of the last request.
func (m *modelServer) last() (messages []object, authorization string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.asked) - 1
	return objects(m.asked[n], "messages"), m.keys[n]
}

// streamGoodDay streams a reply in two deltas.
func streamGoodDay(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, data := range []string{
		`{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}`,
		`{"choices":[{"index":0,"delta":{"content":"Good "}}]}`,
		`{"choices":[{"index":0,"delta":{"content":"day 您好"}}]}`,
		`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
		`{"choices":[],"usage":{"prompt_tokens":120,"completion_tokens":7,"total_tokens":127}}`,
		`[DONE]`,
	} {
		fmt.Fprintf(w, "data: %s\n\n", data)
		_ = http.NewResponseController(w).Flush()
	}
}

func failing(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"error":{"message":"`+modelWords+" "+modelKey+`","type":"auth","code":"bad_key"}}`)
}

// withModel connects the default chatbot to a model server.
func (o organization) withModel(m *modelServer) caller {
	o.t.Helper()
	admin := o.as("admin", auth.Admin)
	admin.patch("/api/chatbots/parley/", object{
		"engine": "openai", "instructions": "Be brief.", "model": object{"baseUrl": m.URL + "/v1", "name": "small", "apiKey": modelKey},
	})
	return admin
}

// A model's reply is streamed and stored like any other, and its record has its sources and its usage.
func TestModelRepliesAreStreamedAndStored(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	o := serveWith(t, settings{log: &log}).organization()
	upstream := serveModel(t, streamGoodDay)
	admin := o.withModel(upstream)
	alice := o.as("alice", auth.Chat)
	wanted := object{"promptTokens": 120, "completionTokens": 7, "totalTokens": 127}

	plain := alice.call(http.MethodPost, completions, completionBody(question, false)).wantStatus(200)
	content, last := checkStream(t, alice.call(http.MethodPost, completions, completionBody(question, true)).events())
	for form, got := range map[string]object{"JSON": plain, "stream": last} {
		cited := objects(got, "citations")
		nodes := objects(got, "citationNodes")
		if got["finishReason"] != "stop" || !sameJSON(t, got["usage"], wanted) || len(cited) == 0 || cited[0]["question"] != question || len(nodes) != len(cited) {
			t.Fatalf("%s: %v", form, got)
		}
		if node := nodes[0]; !sameJSON(t, node["score"], 1) || node["chatbotTextNode"].(object)["text"] != longAnswer {
			t.Errorf("%s: %v", form, node)
		}
	}
	if plain["content"] != "Good day 您好" || content != "Good day 您好" {
		t.Errorf("the response is %v, the stream %q", plain["content"], content)
	}
	messages, authorization := upstream.last()
	system := text(messages[0], "content")
	if authorization != "Bearer "+modelKey || len(messages) != 2 || !strings.HasPrefix(system, "Be brief.\n\n") || !strings.Contains(system, "1. "+question+"\n"+longAnswer) {
		t.Errorf("the model was sent %v with %s", messages, authorization)
	}

	record := objects(admin.listRecords(""), "results")[0]
	if record["outputMessage"] != "Good day 您好" || !strings.Contains(text(record, "context"), longAnswer) || record["replyTime"] == nil {
		t.Errorf("the record: %v", record)
	}
	var firstTokens int
	if err := o.sql.QueryRow(t.Context(), "SELECT count(*) FROM runs WHERE first_token_at BETWEEN started_at AND finished_at").Scan(&firstTokens); err != nil || firstTokens != 2 {
		t.Errorf("%d runs have a first token, %v", firstTokens, err)
	}
	var shown string
	if err := o.sql.QueryRow(t.Context(), "SELECT encode(model_key, 'escape') || model FROM bots WHERE model IS NOT NULL").Scan(&shown); err != nil || strings.Contains(shown, modelKey) {
		t.Errorf("the database contains the key in plain text, or the query failed: %v", err)
	}
	if strings.Contains(log.String(), modelKey) {
		t.Error("the log contains the key")
	}
}

// The model receives the conversation so far, and the metadata of the question.
func TestModelsReceiveTheConversation(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	upstream := serveModel(t, streamGoodDay)
	o.withModel(upstream)
	alice := o.as("alice", auth.Chat)
	conversation := alice.startConversation()
	alice.ask(conversation, "One?")
	sent := alice.post("/api/messages/", object{
		"conversation": conversation, "content": "What is this?",
		"attachments": []object{{"type": "image", "file": "https://files.test/cat.png"}, {"type": "other", "file": "https://files.test/b.pdf", "filename": "b.pdf"}},
	})
	alice.awaitRun(text(sent, "runId"))
	messages, _ := upstream.last()
	want := []object{
		{"role": "system", "content": "Be brief."},
		{"role": "user", "content": "One?"},
		{"role": "assistant", "content": "Good day 您好"},
		{"role": "user", "content": []any{
			object{"type": "text", "text": "What is this?\n[attached: other \"b.pdf\"]"},
			object{"type": "image_url", "image_url": object{"url": "https://files.test/cat.png"}},
		}},
	}
	if !sameJSON(t, messages, want) {
		t.Errorf("the model was sent %v", messages)
	}
	alice.ask(conversation, "And?")
	messages, _ = upstream.last()
	if last := len(messages) - 1; last != 5 || messages[last]["content"] != "And?" || messages[3]["content"] != "What is this?\n[attached: image \"cat.png\"]\n[attached: other \"b.pdf\"]" {
		t.Errorf("then the model was sent %v", messages)
	}
}

// A queued question includes the reply to the question before it.
func TestQueuedQuestionsIncludeEarlierReplies(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	arrived, goOn := make(chan struct{}, 2), make(chan struct{})
	upstream := serveModel(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-goOn
		streamGoodDay(w, r)
	})
	o.withModel(upstream)
	alice := o.as("alice", auth.Chat)
	conversation := alice.startConversation()
	alice.sendMessage(conversation, "One?")
	<-arrived
	second := alice.sendMessage(conversation, "Two?")
	close(goOn)
	alice.awaitRun(text(second, "run_id"))
	messages, _ := upstream.last()
	want := []object{
		{"role": "system", "content": "Be brief."},
		{"role": "user", "content": "One?"},
		{"role": "assistant", "content": "Good day 您好"},
		{"role": "user", "content": "Two?"},
	}
	if !sameJSON(t, messages, want) {
		t.Errorf("the model was sent %v", messages)
	}
}

// Cancelling a reply aborts the request to the model server. The partial text is kept.
func TestCancelAbortsTheRequestToTheModelServer(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	asked, left := make(chan struct{}), make(chan struct{})
	upstream := serveModel(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, `data: {"choices":[{"index":0,"delta":{"content":"Good "}}]}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
		close(asked)
		<-r.Context().Done()
		close(left)
	})
	o.withModel(upstream)
	alice := o.as("alice", auth.Chat)
	conversation := alice.startConversation()
	run := text(alice.sendMessage(conversation, "Hello?"), "run_id")
	<-asked
	began := time.Now()
	alice.call(http.MethodPost, "/api/runs/"+run+"/cancel/", nil)
	select {
	case <-left:
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the request to the model server was not aborted")
	}
	if done := alice.awaitRun(run); done["state"] != "cancelled" {
		t.Errorf("the run: %v", done)
	}
}

// A failure of the model server is reported and counted as such, without the server's own message.
func TestModelServerErrorsAreNotExposed(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	o := serveWith(t, settings{log: &log}).organization()
	o.expectFailures()
	upstream := serveModel(t, failing)
	admin := o.withModel(upstream)
	alice := o.as("alice", auth.Chat)

	refused := alice.call(http.MethodPost, completions, completionBody("Hello?", false))
	refused.wantProblem(502, "upstream_failed", "")
	streamed := alice.call(http.MethodPost, completions, completionBody("Hello?", true))
	_, last := checkStream(t, streamed.events())
	if problem, _ := last["error"].(object); problem["error"] != "upstream_failed" || last["finishReason"] != "error" {
		t.Errorf("streamed %v", last)
	}
	run := alice.call(http.MethodGet, "/api/runs/"+streamed.header.Get("X-Run-Id")+"/", nil)
	record := admin.call(http.MethodGet, "/api/chatbots/parley/records/"+withDays(""), nil)
	for _, got := range []answer{refused, streamed, run, record} {
		if body := string(got.body); strings.Contains(body, modelWords) || strings.Contains(body, modelKey) {
			t.Errorf("%s exposes %s", got.request, body)
		}
	}
	if said := log.String(); !strings.Contains(said, "type auth, code bad_key") || strings.Contains(said, modelWords) || strings.Contains(said, modelKey) {
		t.Errorf("the log lacks the cause, or contains the server's message or the key: %s", said)
	}
}

func TestStatisticsCountTokensOfModels(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	admin := o.withModel(serveModel(t, streamGoodDay))
	for range 3 {
		admin.call(http.MethodPost, completions, completionBody(question, false)).wantStatus(200)
	}
	totals := admin.get("/api/chatbots/parley/statistics/" + withDays(""))["totals"].(object)
	if number(totals, "promptTokens") != 360 || number(totals, "completionTokens") != 21 {
		t.Errorf("%v", totals)
	}
}

// sameJSON reports whether two values are equal as JSON.
func sameJSON(t testing.TB, a, b any) bool {
	t.Helper()
	return equalJSON(decode(t, string(must(json.Marshal(a)))), decode(t, string(must(json.Marshal(b)))))
}

// safeBuffer is a buffer for concurrent writers.
type safeBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *safeBuffer) Write(said []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(said)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
