package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
)

const responses = "/v1/responses"

// typedEvents returns the events of a stream of the Responses API. Their SSE event names are their types, and they
// are numbered.
func (a answer) typedEvents() (events []object) {
	a.t.Helper()
	for block := range strings.SplitSeq(strings.TrimSpace(string(a.body)), "\n\n") {
		if strings.HasPrefix(block, ":") {
			continue
		}
		name, data, _ := strings.Cut(block, "\n")
		event := decode(a.t.(*testing.T), strings.TrimPrefix(data, "data: ")).(object)
		if name != "event: "+text(event, "type") || number(event, "sequence_number") != len(events) {
			a.t.Errorf("event %d is %s", len(events), block)
		}
		events = append(events, event)
	}
	return events
}

// typesOf lists the types of events, with repeated ones once.
func typesOf(events []object) string {
	var types []string
	for _, event := range events {
		if name := strings.TrimPrefix(text(event, "type"), "response."); len(types) == 0 || types[len(types)-1] != name {
			types = append(types, name)
		}
	}
	return strings.Join(types, " ")
}

// outputText returns the text of all messages of a response.
func outputText(response object) (all string) {
	for _, item := range objects(response, "output") {
		if item["type"] != "message" {
			continue
		}
		for _, part := range objects(item, "content") {
			all += text(part, "text")
		}
	}
	return all
}

func TestResponsesOfAChatbotHaveOpenAIsForm(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	for name, input := range map[string]any{
		"text":     question,
		"messages": []any{object{"role": "user", "content": "Hello"}, object{"type": "message", "role": "assistant", "content": []any{object{"type": "output_text", "text": "Hi"}}}, object{"role": "user", "content": []any{object{"type": "input_text", "text": question}}}},
	} {
		response := alice.call(http.MethodPost, responses, object{"model": "parley", "input": input, "instructions": "Be brief.", "store": true, "temperature": 0.5}).wantStatus(200)
		if outputText(response) != longAnswer || response["object"] != "response" || response["status"] != "completed" || response["model"] != "parley" ||
			!strings.HasPrefix(text(response, "id"), "resp_") || response["instructions"] != "Be brief." || response["store"] != false || response["error"] != nil {
			t.Errorf("%s: %v", name, response)
		}
		events := alice.call(http.MethodPost, responses, object{"model": "parley", "input": input, "stream": true}).stream().typedEvents()
		if types := typesOf(events); types != "created in_progress output_item.added content_part.added output_text.delta output_text.done content_part.done output_item.done completed" {
			t.Errorf("%s: the events are %s", name, types)
		}
		var said strings.Builder
		for _, event := range events {
			if event["type"] == "response.output_text.delta" {
				said.WriteString(text(event, "delta"))
			}
		}
		if last := events[len(events)-1]["response"].(object); said.String() != longAnswer || outputText(last) != longAnswer || last["status"] != "completed" {
			t.Errorf("%s: %s, %v", name, said.String(), last)
		}
	}
}

// With a model server, a request is passed on as a chat completion, including function calls in both directions. The
// response contains the server's output and usage.
func TestResponsesAreRelayedToModelServers(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	upstream := serveModel(t, toolCalls)
	alice := o.withModel(upstream)
	request := object{
		"model": "parley", "max_output_tokens": 50, "reasoning": object{"effort": "low"}, "top_p": 0.5, "parallel_tool_calls": false, "store": false, "include": []any{},
		"tools":       []any{object{"type": "function", "name": "weather", "strict": true, "parameters": object{"type": "object"}}},
		"tool_choice": object{"type": "function", "name": "weather"}, "text": object{"format": object{"type": "json_schema", "name": "s", "schema": object{"type": "object"}}},
		"input": []any{
			object{"role": "developer", "content": "Speak German."},
			object{"role": "user", "content": []any{object{"type": "input_text", "text": "Weather?"}, object{"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"}}},
			object{"type": "reasoning", "summary": []any{}},
			object{"type": "function_call", "call_id": "a", "name": "weather", "arguments": "{}"},
			object{"type": "function_call", "call_id": "b", "name": "weather", "arguments": "{}"},
			object{"type": "function_call_output", "call_id": "a", "output": "Rain"},
			object{"type": "function_call_output", "call_id": "b", "output": "Sun"},
		},
	}
	response := alice.call(http.MethodPost, responses, request).wantStatus(200)
	upstream.mu.Lock()
	got := upstream.asked[len(upstream.asked)-1]
	upstream.mu.Unlock()
	want := decode(t, `{"model": "small", "stream": true, "stream_options": {"include_usage": true}, "max_completion_tokens": 50, "reasoning_effort": "low", "top_p": 0.5, "parallel_tool_calls": false,
		"tools": [{"type": "function", "function": {"name": "weather", "strict": true, "parameters": {"type": "object"}}}], "tool_choice": {"type": "function", "function": {"name": "weather"}},
		"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
		"messages": [{"role": "developer", "content": "Be brief.\n\nSpeak German."},
			{"role": "user", "content": [{"type": "text", "text": "Weather?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}]},
			{"role": "assistant", "content": null, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}, {"id": "b", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
			{"role": "tool", "tool_call_id": "a", "content": "Rain"}, {"role": "tool", "tool_call_id": "b", "content": "Sun"}]}`).(object)
	for name := range want {
		if !sameJSON(t, got[name], want[name]) {
			t.Errorf("%s: the model server received %v, want %v", name, got[name], want[name])
		}
	}
	calls := objects(response, "output")
	if len(calls) != 2 || calls[0]["type"] != "function_call" || calls[0]["call_id"] != "a" || calls[0]["arguments"] != `{"city":"Taipei"}` || calls[1]["name"] != "time" || calls[1]["status"] != "completed" {
		t.Errorf("the output is %v", calls)
	}
	usage := decode(t, `{"input_tokens": 20, "output_tokens": 9, "total_tokens": 29, "input_tokens_details": {"cached_tokens": 16}, "output_tokens_details": {"reasoning_tokens": 4}}`)
	if !sameJSON(t, response["usage"], usage) {
		t.Errorf("the usage is %v", response["usage"])
	}

	request["stream"] = true
	events := alice.call(http.MethodPost, responses, request).stream().typedEvents()
	last := events[len(events)-1]["response"].(object)
	if types := typesOf(events); types != "created in_progress output_item.added function_call_arguments.delta output_item.added function_call_arguments.delta function_call_arguments.done output_item.done function_call_arguments.done output_item.done completed" ||
		!sameJSON(t, last["usage"], usage) || len(objects(last, "output")) != 2 {
		t.Errorf("%s: %v", types, last)
	}
}

// Features that need stored responses or OpenAI's own servers are refused. The error names the parameter.
func TestResponsesRefuseWhatTheyCannotDo(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	for param, value := range map[string]any{
		"previous_response_id": "resp_1", "conversation": "conv_1", "background": true, "prompt": object{"id": "p"},
		"tools[0]": []any{object{"type": "web_search"}}, "input[0]": []any{object{"type": "computer_call_output"}},
		"input[0].content[0]": []any{object{"role": "user", "content": []any{object{"type": "input_audio"}}}},
		"tool_choice":         "required",
	} {
		name, _, _ := strings.Cut(param, "[")
		body := object{"model": "parley", "input": "Hello"}
		body[name] = value
		failure := alice.call(http.MethodPost, responses, body).wantStatus(400)["error"].(object)
		if failure["code"] != "unsupported_parameter" || failure["param"] != param {
			t.Errorf("%s: %v", param, failure)
		}
	}
	for _, metadata := range []any{7, []any{object{}}, object{"conversation_id": 7}} {
		alice.call(http.MethodPost, responses, object{"model": "parley", "input": "Hello", "metadata": metadata}).wantStatus(400)
	}
	for _, input := range []any{7, []any{}, object{}, []any{"x"}, []any{object{"role": "user", "content": 7}}} {
		alice.call(http.MethodPost, responses, object{"model": "parley", "input": input}).wantStatus(400)
	}
	alice.call(http.MethodPost, responses, object{"model": "nobody", "input": "Hello"}).wantStatus(404)
	alice.call(http.MethodPost, responses, `{"model":"parley","input":"Hello","seed":-1e999}`).wantStatus(200)
}

// A reply that ends early, or fails after the stream has begun, ends with its own type of event.
func TestResponsesEndWithTheirReason(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	o.expectFailures()
	for last, lines := range map[string][]string{
		"response.incomplete": {`{"choices":[{"index":0,"delta":{"content":"Good"},"finish_reason":"length"}]}`, `[DONE]`},
		"response.failed":     {`{"choices":[{"index":0,"delta":{"content":"Good"}}]}`, `{"error":{"message":"broken","code":"x"}}`},
	} {
		alice := o.withModel(serveModel(t, func(w http.ResponseWriter, _ *http.Request) {
			for _, line := range lines {
				fmt.Fprintf(w, "data: %s\n\n", line)
			}
		}))
		events := alice.call(http.MethodPost, responses, object{"model": "parley", "input": "Hello", "stream": true}).stream().typedEvents()
		end := events[len(events)-1]
		if end["type"] != last || outputText(end["response"].(object)) != "Good" || last == "response.failed" && end["response"].(object)["error"] == nil {
			t.Errorf("%s: %v", last, end)
		}
	}
}
