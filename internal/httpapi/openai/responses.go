package openai

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/httpapi/contract"
	"parley/internal/store"
)

// CreateResponse implements POST /v1/responses. It is a translation of chat completions without a
// conversation.
func (h Handlers) CreateResponse(ctx context.Context, request openapi.CreateResponseRequestObject) (openapi.CreateResponseResponseObject, error) {
	asked := contract.RequestOf(ctx).Body
	chat, err := toChatRequest(asked)
	if err != nil {
		return nil, err
	}
	if metadata, _ := chat["metadata"].(map[string]any); metadata["conversation_id"] != nil && metadata["conversation_id"] != "" {
		return nil, unsupported("/metadata/conversation_id", "Use chat completions in a conversation.")
	}
	body, err := json.Marshal(chat)
	if err != nil {
		return nil, fmt.Errorf("encode a chat completion request: %w", err)
	}
	var completion openapi.CreateChatCompletionRequestObject
	if err := json.Unmarshal(body, &completion.Body); err != nil {
		return nil, apperr.Wrap(apperr.InvalidRequest, "A field of the request does not have the type that the Responses API requires.", err)
	}
	model, err := h.model(ctx, request.Body.Model, apperr.Violation{In: "body", Pointer: "/model", Detail: "is not a model"})
	if err != nil {
		return nil, err
	}
	answer, err := h.complete(contract.WithBody(ctx, body), model, completion)
	if err != nil {
		return nil, err
	}
	return newResponse(asked, chat["stream"] == true, model.Slug, answer), nil
}

// response is the response of the Responses API, built from a chat completion.
type response struct {
	chat        openapi.CreateChatCompletionResponseObject
	isStreaming bool
	document    map[string]any // without output
	items       []*outputItem
}

// echoed are the fields of a request that its response repeats, with their defaults.
var echoed = map[string]any{
	"instructions": nil, "max_output_tokens": nil, "metadata": map[string]any{}, "parallel_tool_calls": true, "temperature": nil, "tool_choice": "auto",
	"tools": []any{}, "top_p": nil, "truncation": "disabled", "reasoning": map[string]any{"effort": nil, "summary": nil}, "text": map[string]any{"format": map[string]any{"type": "text"}},
}

func newResponse(asked []byte, isStreaming bool, model string, answer openapi.CreateChatCompletionResponseObject) *response {
	var request map[string]any
	decoder := json.NewDecoder(bytes.NewReader(asked))
	decoder.UseNumber()
	_ = decoder.Decode(&request) // it has been decoded before
	document := map[string]any{
		"id": "resp_" + store.NewID().String(), "object": "response", "created_at": time.Now().Unix(), "model": model, "status": "in_progress",
		"error": nil, "incomplete_details": nil, "previous_response_id": nil, "store": false, "usage": nil,
	}
	for name, value := range echoed {
		document[name] = value
		if request[name] != nil {
			document[name] = request[name]
		}
	}
	return &response{chat: answer, isStreaming: isStreaming, document: document}
}

// VisitCreateResponseResponse writes the response.
func (r *response) VisitCreateResponseResponse(w http.ResponseWriter) error {
	if r.isStreaming {
		return r.stream(w)
	}
	recorded := &recorder{header: make(http.Header)}
	if err := r.chat.VisitCreateChatCompletionResponse(recorded); err != nil {
		return err
	}
	var completion struct {
		Choices []struct {
			Message      json.RawMessage `json:"message"`
			FinishReason string          `json:"finish_reason"`
		} `json:"choices"`
		Usage json.RawMessage `json:"usage"`
	}
	if err := json.Unmarshal(recorded.body.Bytes(), &completion); err != nil {
		return fmt.Errorf("read a chat completion: %w", err)
	}
	for _, choice := range completion.Choices {
		var said chatDelta
		if err := json.Unmarshal(choice.Message, &said); err != nil {
			return fmt.Errorf("read a chat completion: %w", err)
		}
		if err := r.add(said, func(map[string]any) error { return nil }); err != nil {
			return err
		}
		r.finish(choice.FinishReason)
	}
	r.setUsage(completion.Usage)
	return writeJSON(w, r.whole())
}

// recorder keeps a JSON response.
type recorder struct {
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header               { return r.header }
func (r *recorder) WriteHeader(int)                   {}
func (r *recorder) Write(written []byte) (int, error) { return r.body.Write(written) }

// chatDelta is a message of a chat completion, or a delta of one.
type chatDelta struct {
	Content   *string `json:"content"`
	Refusal   *string `json:"refusal"`
	ToolCalls []struct {
		Index    *int    `json:"index"`
		ID       *string `json:"id"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
}

// outputItem is an item of the output: the message, or a call of a function.
type outputItem struct {
	id        string
	kind      string // message or function_call
	part      string // of a message: output_text or refusal
	callIndex int
	callID    string
	name      string
	text      strings.Builder // or the arguments
}

// document returns the item in its current state.
func (i *outputItem) document(status string) map[string]any {
	if i.kind == "function_call" {
		return map[string]any{"type": i.kind, "id": i.id, "call_id": i.callID, "name": i.name, "arguments": i.text.String(), "status": status}
	}
	content := []any{}
	if status != "in_progress" {
		content = append(content, i.contentPart())
	}
	return map[string]any{"type": i.kind, "id": i.id, "role": "assistant", "status": status, "content": content}
}

func (i *outputItem) contentPart() map[string]any {
	if i.part == "refusal" {
		return map[string]any{"type": "refusal", "refusal": i.text.String()}
	}
	return map[string]any{"type": "output_text", "text": i.text.String(), "annotations": []any{}, "logprobs": []any{}}
}

// add adds a delta to the output and emits the events of a stream.
func (r *response) add(delta chatDelta, emit func(map[string]any) error) error {
	for part, text := range map[string]*string{"output_text": delta.Content, "refusal": delta.Refusal} {
		if text == nil || *text == "" {
			continue
		}
		item, err := r.item(func(i *outputItem) bool { return i.kind == "message" && i.part == part }, outputItem{kind: "message", part: part}, emit)
		if err != nil {
			return err
		}
		item.text.WriteString(*text)
		name := map[string]string{"output_text": "response.output_text.delta", "refusal": "response.refusal.delta"}[part]
		event := map[string]any{"type": name, "item_id": item.id, "output_index": r.indexOf(item), "content_index": 0, "delta": *text}
		if part == "output_text" {
			event["logprobs"] = []any{}
		}
		if err := emit(event); err != nil {
			return err
		}
	}
	for position, call := range delta.ToolCalls {
		if call.Index != nil {
			position = *call.Index
		}
		added := outputItem{kind: "function_call", callIndex: position, name: call.Function.Name}
		if call.ID != nil {
			added.callID = *call.ID
		}
		item, err := r.item(func(i *outputItem) bool { return i.kind == added.kind && i.callIndex == position }, added, emit)
		if err != nil {
			return err
		}
		if call.Function.Arguments == "" {
			continue
		}
		item.text.WriteString(call.Function.Arguments)
		if err := emit(map[string]any{"type": "response.function_call_arguments.delta", "item_id": item.id, "output_index": r.indexOf(item), "delta": call.Function.Arguments}); err != nil {
			return err
		}
	}
	return nil
}

// item returns the item that matches, or adds one.
func (r *response) item(matches func(*outputItem) bool, added outputItem, emit func(map[string]any) error) (*outputItem, error) {
	for _, item := range r.items {
		if matches(item) {
			return item, nil
		}
	}
	item := &outputItem{kind: added.kind, part: added.part, callIndex: added.callIndex, callID: added.callID, name: added.name}
	item.id = map[string]string{"message": "msg_", "function_call": "fc_"}[item.kind] + store.NewID().String()
	r.items = append(r.items, item)
	if err := emit(map[string]any{"type": "response.output_item.added", "output_index": r.indexOf(item), "item": item.document("in_progress")}); err != nil || item.kind != "message" {
		return item, err
	}
	return item, emit(map[string]any{"type": "response.content_part.added", "item_id": item.id, "output_index": r.indexOf(item), "content_index": 0, "part": item.contentPart()})
}

func (r *response) indexOf(item *outputItem) int {
	for i, other := range r.items {
		if other == item {
			return i
		}
	}
	return -1
}

// finish sets the status by the reason why the completion ended.
func (r *response) finish(reason string) {
	r.document["status"] = "completed"
	if incomplete := map[string]string{"length": "max_output_tokens", "content_filter": "content_filter"}[reason]; incomplete != "" {
		r.document["status"], r.document["incomplete_details"] = "incomplete", map[string]any{"reason": incomplete}
	}
}

// setUsage converts the usage of a chat completion, which may be absent.
func (r *response) setUsage(raw json.RawMessage) {
	var usage *openapi.ChatUsage
	if json.Unmarshal(raw, &usage) != nil || usage == nil {
		return
	}
	details, _ := usage.PromptTokensDetails.Get()
	cached, _ := details.CachedTokens.Get()
	completion, _ := usage.CompletionTokensDetails.Get()
	reasoning, _ := completion.ReasoningTokens.Get()
	r.document["usage"] = map[string]any{
		"input_tokens": usage.PromptTokens, "output_tokens": usage.CompletionTokens, "total_tokens": usage.TotalTokens,
		"input_tokens_details": map[string]any{"cached_tokens": cached}, "output_tokens_details": map[string]any{"reasoning_tokens": reasoning},
	}
}

// whole returns the response with its output.
func (r *response) whole() map[string]any {
	output := make([]any, len(r.items))
	for i, item := range r.items {
		output[i] = item.document(cmp.Or(map[bool]string{true: "incomplete"}[r.document["status"] == "incomplete"], "completed"))
	}
	r.document["output"] = output
	return r.document
}
