package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"parley/internal/auth"
)

// relayRequest has every field that a caller may send to a model, and unknown ones.
const relayRequest = `{
	"model": "parley", "temperature": 1.5, "top_p": 0.5, "max_completion_tokens": 7, "stop": ["END"], "seed": 1234, "logprobs": true, "top_logprobs": 2,
	"reasoning_effort": "low", "user": "u", "n": 1, "stream": null, "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false,
	"tools": [{"type": "function", "function": {"name": "f", "strict": true, "parameters": {"type": "object", "properties": {"a": {"type": ["string", "null"], "default": null}}}}}],
	"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}, "of_the_future": {"a": [null, 1]},
	"metadata": {"conversation_id": "", "trace": "t"}, "stream_options": {"include_obfuscation": false},
	"messages": [
		{"role": "system", "content": "Speak German."},
		{"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "input_audio", "input_audio": {"data": "AA"}}, {"type": "file", "file": {"file_id": "f"}}]},
		{"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
		{"role": "tool", "tool_call_id": "1", "content": "Tool's words"},
		{"role": "user", "name": "kim", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}]},
		{"role": "assistant", "content": "", "tool_calls": [{"id": "2", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
		{"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "More"}]}
	]}`

// A stateless request is passed on to the model server completely. Only the model, the stream and the beginning of
// the system prompt are set by the chatbot.
func TestStatelessRequestsArePassedOn(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	upstream := serveModel(t, streamGoodDay)
	alice := o.withModel(upstream)
	alice.patch("/api/chatbots/parley/", object{"model": object{
		"baseUrl": upstream.URL + "/v1", "name": "small", "temperature": 0.1, "parameters": object{"max_tokens": 1, "top_k": 3},
	}})
	alice.call(http.MethodPost, chatCompletions, relayRequest).wantStatus(200)
	want := decode(t, relayRequest).(object)
	for name, value := range map[string]any{"model": "small", "stream": true, "top_k": 3, "metadata": object{"trace": "t"}, "stream_options": object{"include_obfuscation": false, "include_usage": true}} {
		want[name] = value
	}
	want["messages"].([]any)[0] = object{"role": "system", "content": "Be brief.\n\nSpeak German."}
	upstream.mu.Lock()
	got := upstream.asked[len(upstream.asked)-1]
	upstream.mu.Unlock()
	if !sameJSON(t, got, want) {
		for name := range want {
			if !sameJSON(t, got[name], want[name]) {
				t.Errorf("%s: the model server received %v, want %v", name, got[name], want[name])
			}
		}
		t.Errorf("the model server received %d fields, want %d", len(got), len(want))
	}

	// A long history with a long text is passed on completely.
	var said []string
	for range 120 {
		said = append(said, "Turn after turn")
	}
	said = append(said, strings.Repeat("words ", 20_000)+"summarize please")
	alice.completeChat(chatBody(said...))
	if messages, _ := upstream.last(); len(messages) != 122 || text(messages[121], "content") != said[120] {
		t.Errorf("%d messages arrived", len(messages))
	}
	// An image of some megabytes is passed on, too.
	image := "data:image/png;base64," + strings.Repeat("A", 6<<20)
	alice.completeChat(object{"model": "parley", "messages": []any{object{"role": "user", "content": []any{object{"type": "image_url", "image_url": object{"url": image}}}}}})
	if messages, _ := upstream.last(); objects(messages[1], "content")[0]["image_url"].(object)["url"] != image {
		t.Error("the image did not arrive")
	}
	alice.call(http.MethodPost, chatCompletions, chatBody(strings.Repeat("A", 20<<20))).wantProblem(413, "too_large", "")
}

// toolCalls streams two tool calls in several deltas.
func toolCalls(w http.ResponseWriter, _ *http.Request) {
	for _, data := range []string{
		`{"id":"up","model":"small-2026","system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}`,
		`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"weather","arguments":""}}]}}]}`,
		`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":"}}]}}]}`,
		`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"Taipei\"}"}}]}}]}`,
		`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"time","arguments":"{}"}}]}}]}`,
		`{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
		`{"choices":[],"model":"small-2026","usage":{"prompt_tokens":20,"completion_tokens":9,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":16},"completion_tokens_details":{"reasoning_tokens":4}}}`,
		`[DONE]`,
	} {
		fmt.Fprintf(w, "data: %s\n\n", data)
	}
}

func TestToolCallsAreReturned(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.withModel(serveModel(t, toolCalls))
	answer := alice.call(http.MethodPost, chatCompletions, chatBody("Weather?")).wantStatus(200)
	if id := text(answer, "id"); !strings.HasPrefix(id, "chatcmpl-") {
		t.Errorf("the id is %s", id)
	}
	delete(answer, "id")
	delete(answer, "created")
	want := decode(t, `{"object": "chat.completion", "model": "parley", "system_fingerprint": "fp",
		"choices": [{"index": 0, "logprobs": null, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null, "refusal": null, "tool_calls": [
			{"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Taipei\"}"}}, {"id": "b", "type": "function", "function": {"name": "time", "arguments": "{}"}}]}}],
		"usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "prompt_tokens_details": {"cached_tokens": 16}, "completion_tokens_details": {"reasoning_tokens": 4}}}`)
	if !sameJSON(t, answer, want) {
		t.Errorf("%v", answer)
	}

	events, isDone := alice.call(http.MethodPost, chatCompletions, asStream(chatBody("Weather?"))).chunks()
	var arguments strings.Builder
	for _, event := range events {
		delta := objects(event, "choices")[0]["delta"].(object)
		if delta["tool_calls"] == nil {
			continue
		}
		for _, call := range objects(delta, "tool_calls") {
			arguments.WriteString(text(call["function"].(object), "arguments"))
		}
	}
	if arguments.String() != `{"city":"Taipei"}{}` || !isDone || len(events) != 6 || choiceOf(events, 5)["finish_reason"] != "tool_calls" {
		t.Errorf("%v", events)
	}
}

// Nulls in the model server's response are passed on, in streams and documents.
func TestNullsOfTheModelServerArePassedOn(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	for _, usage := range []string{
		`{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3,"prompt_tokens_details":null,"completion_tokens_details":{"reasoning_tokens":null}}`,
		`{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3,"prompt_tokens_details":{"cached_tokens":null},"completion_tokens_details":null}`,
	} {
		alice := o.withModel(serveModel(t, func(w http.ResponseWriter, _ *http.Request) {
			for _, data := range []string{
				`{"usage":null,"choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"time","arguments":""}}]}}]}`,
				`{"usage":null,"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":null,"type":null,"function":{"arguments":"{}"}}]}}]}`,
				`{"usage":null,"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
				`{"choices":[],"usage":` + usage + `}`,
				`[DONE]`,
			} {
				fmt.Fprintf(w, "data: %s\n\n", data)
			}
		}))
		body := asStream(chatBody("What time is it?"))
		body["stream_options"] = object{"include_usage": true}
		events, isDone := alice.call(http.MethodPost, chatCompletions, body).chunks()
		if !isDone || len(events) != 4 || !sameJSON(t, events[3]["usage"], decode(t, usage)) {
			t.Errorf("the stream is %v", events)
		}
		answer := alice.call(http.MethodPost, chatCompletions, chatBody("What time is it?")).wantStatus(200)
		if call := objects(choiceOf([]object{answer}, 0)["message"].(object), "tool_calls")[0]; call["id"] != "a" || call["type"] != "function" {
			t.Errorf("the call is %v", call)
		}
	}
}

func choiceOf(events []object, i int) object { return objects(events[i], "choices")[0] }

// The response of a model server that does not stream is passed on, too.
func TestUnstreamedResponsesAreRelayed(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.withModel(serveModel(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"choices":[{"index":0,"message":{"role":"assistant","content":"Good","reasoning_content":"Hm"},"finish_reason":"length"}]}`)
	}))
	message := objects(alice.call(http.MethodPost, chatCompletions, chatBody("And?")).wantStatus(200), "choices")[0]
	if said := message["message"].(object); said["content"] != "Good" || said["reasoning_content"] != "Hm" || message["finish_reason"] != "length" {
		t.Errorf("%v", message)
	}
	events, _ := alice.call(http.MethodPost, chatCompletions, asStream(chatBody("And?"))).chunks()
	if delta := choiceOf(events, 0)["delta"].(object); delta["content"] != "Good" || delta["role"] != "assistant" || choiceOf(events, 0)["finish_reason"] != "length" {
		t.Errorf("%v", events)
	}
}

// A refusal of the model server keeps its status and its codes, as JSON and as a stream. Its message is not passed
// on.
func TestRefusalsOfTheModelServerKeepTheirStatus(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	o.expectFailures()
	for _, c := range []struct {
		status int
		body   string
		want   int
		code   string
		param  string
	}{
		{400, `{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error","n_ctx":512}}`, 400, "context_length_exceeded", "messages"},
		{400, `{"error":{"code":"context_length_exceeded","message":"` + modelWords + `","type":"invalid_request_error","param":"messages"}}`, 400, "context_length_exceeded", "messages"},
		{400, `{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError"}`, 400, "context_length_exceeded", "messages"},
		{400, `{"error":{"code":"unsupported_value","message":"` + modelWords + `","type":"invalid_request_error","param":"messages[0].name"}}`, 400, "invalid_request", "messages[0].name"},
		{422, modelWords, 400, "invalid_request", ""},
		{401, modelWords, 502, "upstream_failed", ""},
	} {
		alice := o.withModel(serveModel(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}))
		for _, body := range []object{chatBody("Hello?"), asStream(chatBody("Hello?"))} {
			got := alice.call(http.MethodPost, chatCompletions, body)
			failure := got.wantStatus(c.want)["error"].(object)
			param, _ := failure["param"].(string)
			if failure["code"] != c.code || param != c.param || strings.Contains(string(got.body), modelWords) || (got.header.Get("X-Should-Retry") == "false") != (c.want == 502) {
				t.Errorf("%s: %s %v", c.body, got.body, got.header)
			}
		}
	}
}

// A chatbot without a model server refuses parameters that would change the meaning of the reply, and ignores hints.
func TestUnsupportedParametersAreRejected(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startConversation()
	tools := []any{object{"type": "function", "function": object{"name": "f", "parameters": object{}}}}
	for param, value := range map[string]any{
		"tool_choice": "required", "response_format": object{"type": "json_schema", "json_schema": object{}}, "function_call": object{"name": "f"}, "modalities": []any{"text", "audio"},
	} {
		for _, body := range []object{chatBody(question), withConversation(id, chatBody(question)), asStream(chatBody(question))} {
			body["tools"], body[param] = tools, value
			failure := alice.call(http.MethodPost, chatCompletions, body).wantStatus(400)["error"].(object)
			if failure["code"] != "unsupported_parameter" || failure["param"] != param || failure["type"] != "invalid_request_error" {
				t.Errorf("%s: %v", param, failure)
			}
		}
	}
	for _, hints := range []object{
		{"tools": tools, "tool_choice": "auto"},
		{"tools": tools, "tool_choice": "none"},
		{"tools": tools, "function_call": "auto"},
		{"response_format": object{"type": "text"}},
		{"temperature": 0, "max_tokens": 5, "stop": "x", "seed": 1, "logprobs": true, "reasoning_effort": "low", "modalities": []any{"text"}, "tool_choice": nil, "response_format": nil},
	} {
		body := chatBody(question)
		for name, value := range hints {
			body[name] = value
		}
		if reply := alice.completeChat(body); reply != longAnswer {
			t.Errorf("%v: %s", hints, reply)
		}
	}
}

// The headers of a stream are sent with the first delta, or after two seconds.
func TestStreamHeadersAreSentWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	release := make(chan struct{})
	alice := o.withModel(serveModel(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
			streamGoodDay(w, r)
		case <-r.Context().Done():
		}
	}))
	request := must(o.request(http.MethodPost, chatCompletions, asStream(chatBody("Hello?")), withHeader("Authorization", "Bearer "+alice.key)))
	began := time.Now()
	response := must(o.http.Do(request))
	defer response.Body.Close()
	if after := time.Since(began); response.StatusCode != 200 || after < time.Second || after > 10*time.Second {
		t.Errorf("%s after %s", response.Status, after)
	}
	close(release)
	if body := string(must(io.ReadAll(response.Body))); !strings.Contains(body, "day 您好") || !strings.HasSuffix(body, "data: [DONE]\n\n") {
		t.Errorf("%q", body)
	}
}

// A client token permits completions with the chatbots with which it may start a conversation.
func TestClientTokensCompleteOnlyWithTheirChatbots(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	other := o.as("manager", auth.Manage).post("/api/chatbots/", object{"name": "Other", "slug": "other"})
	id := alice.startConversation()
	ours := alice.token(object{"chatbot": o.bot.ID.String()})
	theirs := alice.token(object{"chatbot": text(other, "id")})
	conversationToken := alice.token(object{"conversation": id})
	for name, c := range map[string]struct {
		token  string
		body   object
		status int
	}{
		"chatbot":                      {ours, chatBody(question), 200},
		"other chatbot":                {theirs, chatBody(question), 403},
		"conversation":                 {conversationToken, withConversation(id, chatBody(question)), 200},
		"no conversation":              {conversationToken, chatBody(question), 403},
		"conversation, stateless only": {theirs, withConversation(id, chatBody(question)), 403},
	} {
		if got := o.call(http.MethodPost, chatCompletions, c.body, bearer(c.token)); got.status != c.status {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}
