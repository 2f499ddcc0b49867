package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"parley/internal/auth"
)

// modelBehavior is a behavior of a model server, and the expected outcome.
type modelBehavior struct {
	answer http.HandlerFunc
	text   string // empty: no message is stored
	finish string // error: the reply fails
	usage  object // nil: not reported
	status int    // of the failed completion
	detail string // part of the problem's detail
	isOver bool   // the problem is not retryable
	asked  int    // requests to the model server; 0: one
}

const (
	helloEvent  = `data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}` + "\n\n"
	finishEvent = `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	doneEvent   = "data: [DONE]\n\n"
)

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// ends streams a text with a finish reason, which is given as JSON.
func ends(reason string) http.HandlerFunc {
	return says(helloEvent + `data: {"choices":[{"index":0,"delta":{},"finish_reason":` + reason + `}]}` + "\n\n" + doneEvent)
}

// deltas streams deltas, each a JSON object.
func deltas(list ...string) http.HandlerFunc {
	var body strings.Builder
	for _, delta := range list {
		body.WriteString(`data: {"choices":[{"index":0,"delta":` + delta + `}]}` + "\n\n")
	}
	return says(body.String() + finishEvent + doneEvent)
}

func refuses(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// refusesWith refuses requests whose body contains the words, and answers others.
func refusesWith(words string, status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		if strings.Contains(string(sent), words) {
			refuses(status, body)(w, r)
			return
		}
		says(helloEvent+finishEvent+doneEvent)(w, r)
	}
}

func compressed(encoding string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", encoding)
		var out io.WriteCloser = zlib.NewWriter(w)
		if encoding == "gzip" {
			out = gzip.NewWriter(w)
		}
		_, _ = io.WriteString(out, helloEvent+finishEvent+doneEvent)
		_ = out.Close()
	}
}

func answered(answer http.HandlerFunc, text, finish string) modelBehavior {
	return modelBehavior{answer: answer, text: text, finish: finish}
}

func hello(answer http.HandlerFunc) modelBehavior { return answered(answer, "Hello", "stop") }

func adapted(words string, status int, body string, asked int) modelBehavior {
	return modelBehavior{answer: refusesWith(words, status, body), text: "Hello", finish: "stop", asked: asked}
}

func failed(answer http.HandlerFunc, status int, detail string, isOver bool) modelBehavior {
	return modelBehavior{answer: answer, finish: "error", status: status, detail: detail, isOver: isOver}
}

const unanswered = "Sorry, I have no answer to that."

var modelBehaviors = map[string]modelBehavior{
	"Mistral refuses stream_options":      adapted(`"stream_options"`, 422, `{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}`, 2),
	"old Azure refuses stream_options":    adapted(`"stream_options"`, 400, `{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error"}}`, 2),
	"a refusal of extras without words":   adapted(`"stream_options"`, 400, ``, 2),
	"a server without the system role":    adapted(`"system"`, 400, `{"object":"error","message":"System role not supported","code":400}`, 2),
	"a template without the system role":  adapted(`"system"`, 500, `{"error":{"code":500,"message":"Jinja Exception: Only user and assistant roles are supported!","type":"server_error"}}`, 2),
	"a server that does not stream":       adapted(`"stream":true`, 400, `{"error":{"message":"Streaming is not supported for this model"}}`, 2),
	"a server without streaming, by 501":  adapted(`"stream":true`, 501, `not implemented`, 3),
	"a server that accepts no stream":     adapted(`"stream":true`, 406, ``, 3),
	"a model with a fixed temperature":    adapted(`"temperature"`, 400, `{"error":{"message":"Unsupported value: 'temperature' does not support 0.2 with this model.","param":"temperature","code":"unsupported_value"}}`, 2),
	"a model that renamed max_tokens":     adapted(`"max_tokens"`, 400, `{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","param":"max_tokens"}}`, 2),
	"JSON instead of a stream":            {answer: says(`{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2}}`), text: "Hello", finish: "stop", usage: object{"promptTokens": 5, "completionTokens": 2, "totalTokens": 7}},
	"JSON lines":                          hello(says(`{"choices":[{"delta":{"content":"Hel"}}]}` + "\n" + `{"choices":[{"delta":{"content":"lo"},"finish_reason":"stop"}]}` + "\n")),
	"a think block":                       hello(deltas(`{"content":"<thi"}`, `{"content":"nk>hm\n</th"}`, `{"content":"ink>\n\nHel"}`, `{"content":"lo"}`)),
	"a thinking block in one piece":       hello(deltas(`{"content":"\n<thinking>hm</thinking> Hello"}`)),
	"a reasoning block":                   hello(deltas(`{"content":"<reasoning>"}`, `{"content":"hm"}`, `{"content":"</reasoning>Hello"}`)),
	"an open think block":                 answered(deltas(`{"content":"<think>hm"}`), unanswered, "stop"),
	"a later think block":                 answered(deltas(`{"content":"Use <think>"}`, `{"content":"x</think>"}`), "Use <think>x</think>", "stop"),
	"reasoning in fields of its own":      hello(deltas(`{"reasoning_content":"hm"}`, `{"reasoning":"hm"}`, `{"content":"Hello"}`)),
	"parts with thinking":                 hello(deltas(`{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"Hello"}]}`)),
	"a refusal":                           answered(deltas(`{"refusal":"I can"}`, `{"refusal":"not."}`), "I cannot.", "stop"),
	"delta and message":                   hello(says(`data: {"choices":[{"delta":{"content":"Hel"},"message":{"content":"Hel"}}]}` + "\n\n" + `data: {"choices":[{"delta":{"content":"lo"},"message":{"content":"Hello"},"finish_reason":"stop"}]}` + "\n\n")),
	"messages only":                       hello(says(`data: {"choices":[{"message":{"content":"Hel"}}]}` + "\n\n" + `data: {"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}` + "\n\n")),
	"texts only":                          hello(says(`data: {"choices":[{"text":"Hel"}]}` + "\n\n" + `data: {"choices":[{"text":"lo","finish_reason":"stop"}]}` + "\n\n")),
	"a surrogate pair over two chunks":    answered(deltas(`{"content":"a\ud83d"}`, `{"content":"\ude00b"}`), "a😀b", "stop"),
	"half a surrogate pair":               answered(deltas(`{"content":"a\ud83d"}`), "a\ufffd", "stop"),
	"bytes of a character over chunks":    answered(deltas("{\"content\":\"a\xf0\x9f\"}", "{\"content\":\"\x98\x80b\"}"), "a😀b", "stop"),
	"no [DONE], no space, CRLF and a BOM": hello(says("\ufeff: hi\r\n\r\n" + strings.ReplaceAll(strings.ReplaceAll(helloEvent+finishEvent, "data: ", "data:"), "\n", "\r\n"))),
	"gzip":                                hello(compressed("gzip")),
	"deflate":                             hello(compressed("deflate")),
	"odd values where they do not matter": hello(says(`data: {"id":7,"created":"now","object":null,"model":5,"system_fingerprint":{},"error":"","choices":[null,{"index":"0","delta":{"role":3,"content":"Hello"},"logprobs":"x","finish_reason":false}],"usage":[]}` + "\n\n" + finishEvent)),
	"usage in floats and strings":         {answer: says(helloEvent + finishEvent + `data: {"choices":[],"usage":{"prompt_tokens":5.0,"completion_tokens":"2","prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":1}}}` + "\n\n" + doneEvent), text: "Hello", finish: "stop", usage: object{"promptTokens": 5, "completionTokens": 2, "totalTokens": 7, "cachedTokens": 3, "reasoningTokens": 1}},
	"finish reason null":                  hello(ends(`null`)),
	"finish reason empty":                 hello(ends(`""`)),
	"finish reason eos":                   hello(ends(`"eos"`)),
	"finish reason end_turn":              hello(ends(`"end_turn"`)),
	"finish reason stop_sequence":         hello(ends(`"stop_sequence"`)),
	"finish reason length":                answered(ends(`"length"`), "Hello", "length"),
	"finish reason MAX_TOKENS":            answered(ends(`"MAX_TOKENS"`), "Hello", "length"),
	"finish reason content_filter":        answered(ends(`"content_filter"`), "Hello", "content_filter"),
	"finish reason SAFETY":                answered(ends(`"SAFETY"`), "Hello", "content_filter"),
	"text and a tool call":                hello(ends(`"tool_calls"`)),
	"a filter that leaves nothing":        answered(says(`data: {"choices":[{"delta":{},"finish_reason":"content_filter"}]}`+"\n\n"), unanswered, "content_filter"),
	"a tool call alone":                   failed(says(`data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f"}}]},"finish_reason":"tool_calls"}]}`+"\n\n"), 502, "called a tool", true),
	"only [DONE]":                         failed(says(doneEvent), 502, "could not be read", false),
	"empty choices":                       failed(says(`data: {"choices":[]}`+"\n\n"+doneEvent), 502, "could not be read", false),
	"choices null":                        failed(says(`data: {"choices":null}`+"\n\n"+doneEvent), 502, "could not be read", false),
	"only a usage":                        failed(says(`data: {"choices":[],"usage":{"prompt_tokens":5}}`+"\n\n"+doneEvent), 502, "could not be read", false),
	"vLLM's error in a stream":            failed(says(`data: {"object":"error","message":"no"}`+"\n\n"+doneEvent), 502, "reported an error", false),
	"an error by the name of its event":   failed(says("event: error\ndata: {\"message\":\"no\"}\n\n"+doneEvent), 502, "reported an error", false),
	"a bad gzip":                          failed(refuses(200, "\x1f\x8bnot gzip at all", "Content-Encoding", "gzip"), 502, "could not be read", false),
	"a wrong key":                         failed(refuses(401, `{"error":{"code":"invalid_api_key"}}`), 502, "API key", true),
	"forbidden":                           failed(refuses(403, ``), 502, "API key", true),
	"Gemini's wrong key":                  failed(refuses(400, `[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]`), 502, "API key", true),
	"an unknown model":                    failed(refuses(404, `{"error":{"code":"model_not_found"}}`), 502, "does not have", true),
	"an unknown model, by 400":            failed(refuses(400, `{"error":"The model 'x' does not exist"}`), 502, "does not have", true),
	"a quota used up":                     failed(refuses(429, `{"error":{"code":"insufficient_quota"}}`), 502, "quota", true),
	"DeepSeek's balance used up":          failed(refuses(402, `{"error":{"message":"Insufficient Balance"}}`), 502, "quota", true),
	"a filtered question":                 failed(refuses(400, `{"error":{"code":"content_filter"}}`), 502, "content filter", true),
	"too long, as OpenAI says it":         failed(refuses(400, `{"error":{"code":"context_length_exceeded","message":"maximum context length is 8 tokens"}}`), 413, "too long", true),
	"too long, as llama.cpp says it":      failed(refuses(400, `{"error":{"type":"exceed_context_size_error","n_ctx":4096}}`), 413, "too long", true),
	"too long, as Anthropic says it":      failed(refuses(400, `{"error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}`), 413, "too long", true),
	"a rate limit with a long wait":       failed(refuses(429, ``, "Retry-After", "30"), 502, "no more requests", false),
	"overloaded with a long wait":         failed(refuses(529, ``, "Retry-After", "30"), 502, "failed", false),
}

// Each behavior is tested with its own bot, with the parameters that some servers reject.
func TestModelServerVariantsAreSupported(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	o.expectFailures()
	admin := o.as("admin", auth.Admin)
	for name, h := range modelBehaviors {
		t.Run(name, func(t *testing.T) {
			requests := 0
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				h.answer(w, r)
			}))
			defer upstream.Close()
			made := admin.post("/api/chatbots/", object{
				"name": "M", "engine": "openai", "instructions": "Be brief.",
				"model": object{"baseUrl": upstream.URL, "name": "small", "temperature": 0.2, "parameters": object{"max_tokens": 100}},
			})
			path := "/api/chatbots/" + text(made, "id")
			got := admin.call(http.MethodPost, path+"/completions/", completionBody("Hello?", false))
			if want := max(h.asked, 1); requests != want {
				t.Errorf("got %d requests, want %d", requests, want)
			}
			records := objects(admin.get(path+"/records/"+withDays("")), "results")
			if len(records) != 1 {
				t.Fatalf("got records %v", records)
			}
			if h.finish == "error" {
				problem := got.json()
				if got.status != h.status || !strings.Contains(text(problem, "detail"), h.detail) || problem["retryable"] != !h.isOver {
					t.Errorf("got %d %s", got.status, got.body)
				}
				if records[0]["status"] != "failed" {
					t.Errorf("the record: %v", records[0])
				}
				return
			}
			reply := got.wantStatus(http.StatusOK)
			if reply["content"] != h.text || reply["finishReason"] != h.finish {
				t.Errorf("got %q, %v, want %q, %s", reply["content"], reply["finishReason"], h.text, h.finish)
			}
			if usage, _ := json.Marshal(reply["usage"]); h.usage == nil && !bytes.Equal(usage, []byte("null")) || h.usage != nil && !sameJSON(t, reply["usage"], h.usage) {
				t.Errorf("got usage %s", usage)
			}
			if records[0]["status"] != "completed" || records[0]["outputMessage"] != h.text {
				t.Errorf("the record: %v", records[0])
			}
		})
	}
}

func TestRetryAfterOfModelServersIsPassedOn(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	o.expectFailures()
	o.withModel(serveModel(t, refuses(429, `{}`, "Retry-After", "30")))
	got := o.as("alice", auth.Chat).call(http.MethodPost, completions, completionBody("Hello?", false))
	problem := got.wantProblem(502, "upstream_failed", "")
	if got.header.Get("Retry-After") != "30" || got.header.Get("X-Should-Retry") != "false" || !sameJSON(t, problem["retry_after"], 30) {
		t.Errorf("got Retry-After %q, %v", got.header.Get("Retry-After"), problem)
	}
}
