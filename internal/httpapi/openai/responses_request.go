package openai

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"

	"parley/internal/apperr"
)

// responseRequest contains the fields of a request of the Responses API that differ from a chat completion request.
// See https://platform.openai.com/docs/api-reference/responses/create.
type responseRequest struct {
	Input              json.RawMessage   `json:"input"`
	Instructions       *string           `json:"instructions"`
	PreviousResponseID *string           `json:"previous_response_id"`
	Conversation       json.RawMessage   `json:"conversation"`
	Background         *bool             `json:"background"`
	Prompt             json.RawMessage   `json:"prompt"`
	Tools              []json.RawMessage `json:"tools"`
	ToolChoice         json.RawMessage   `json:"tool_choice"`
	MaxOutputTokens    json.RawMessage   `json:"max_output_tokens"`
	Reasoning          struct {
		Effort json.RawMessage `json:"effort"`
	} `json:"reasoning"`
	Text struct {
		Format json.RawMessage `json:"format"`
	} `json:"text"`
}

// converted are fields of a request that have another name or form in chat completions, or do not exist there. All
// others are passed on unchanged.
var converted = []string{
	"input", "instructions", "previous_response_id", "conversation", "background", "prompt", "tools", "tool_choice", "max_output_tokens",
	"reasoning", "text", "store", "include", "truncation", "max_tool_calls", "n",
}

// toChatRequest converts a request of the Responses API to a chat completion request.
func toChatRequest(body []byte) (map[string]any, error) {
	var fields map[string]any
	var request responseRequest
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // numbers can exceed float64
	if err := decoder.Decode(&fields); err != nil {
		return nil, fmt.Errorf("read a request: %w", err)
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, apperr.Wrap(apperr.InvalidRequest, "A field of the request does not have the type that the Responses API requires.", err)
	}
	if err := request.checkStateless(); err != nil {
		return nil, err
	}
	messages, err := request.messages()
	if err != nil {
		return nil, err
	}
	for _, name := range converted {
		delete(fields, name)
	}
	fields["messages"] = messages
	if fields["stream"] == true {
		fields["stream_options"] = map[string]any{"include_usage": true}
	}
	return fields, request.convertOptions(fields)
}

// checkStateless refuses fields that require stored responses.
func (r responseRequest) checkStateless() error {
	isSet := func(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }
	switch {
	case r.PreviousResponseID != nil && *r.PreviousResponseID != "":
		return unsupported("/previous_response_id", "Responses are not stored: send the earlier items in input.")
	case isSet(r.Conversation):
		return unsupported("/conversation", "Responses are not stored: send the earlier items in input.")
	case isSet(r.Prompt):
		return unsupported("/prompt", "Prompts are not stored.")
	case r.Background != nil && *r.Background:
		return unsupported("/background", "Responses are not stored.")
	}
	return nil
}

// convertOptions adds the options to the fields of a chat completion request.
func (r responseRequest) convertOptions(fields map[string]any) error {
	for i, raw := range r.Tools {
		tool, err := toChatTool(raw, fmt.Sprintf("/tools/%d", i))
		if err != nil {
			return err
		}
		tools, _ := fields["tools"].([]any)
		fields["tools"] = append(tools, tool)
	}
	var choice struct{ Type, Name string }
	if json.Unmarshal(r.ToolChoice, &choice) == nil && choice.Type == "function" {
		fields["tool_choice"] = map[string]any{"type": "function", "function": map[string]any{"name": choice.Name}}
	} else if len(r.ToolChoice) > 0 {
		fields["tool_choice"] = r.ToolChoice
	}
	if len(r.MaxOutputTokens) > 0 {
		fields["max_completion_tokens"] = r.MaxOutputTokens
	}
	if len(r.Reasoning.Effort) > 0 {
		fields["reasoning_effort"] = r.Reasoning.Effort
	}
	var format struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(r.Text.Format, &format) == nil && format.Type == "json_schema" {
		var schema map[string]any
		_ = json.Unmarshal(r.Text.Format, &schema) // it has been decoded before
		delete(schema, "type")
		fields["response_format"] = map[string]any{"type": "json_schema", "json_schema": schema}
	} else if format.Type != "" && format.Type != "text" {
		fields["response_format"] = r.Text.Format
	}
	return nil
}

// toChatTool converts a function, whose fields chat completions nest. Other tools run on OpenAI's
// servers.
func toChatTool(raw json.RawMessage, pointer string) (any, error) {
	var tool map[string]any
	if json.Unmarshal(raw, &tool) != nil || tool["type"] != "function" {
		return nil, unsupported(pointer, "Only tools of the type function are supported.")
	}
	delete(tool, "type")
	return map[string]any{"type": "function", "function": tool}, nil
}

// inputItem is an item of the input: a message, a call of a function, or its result.
type inputItem struct {
	Type      string          `json:"type"`
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments string          `json:"arguments"`
	Output    json.RawMessage `json:"output"`
}

// messages returns the input as messages.
func (r responseRequest) messages() ([]any, error) {
	var messages []any
	if r.Instructions != nil && *r.Instructions != "" {
		messages = append(messages, map[string]any{"role": "system", "content": *r.Instructions})
	}
	var text string
	if json.Unmarshal(r.Input, &text) == nil {
		return append(messages, map[string]any{"role": "user", "content": text}), nil
	}
	var items []inputItem
	if err := json.Unmarshal(r.Input, &items); err != nil || len(items) == 0 {
		return nil, apperr.Field(apperr.InvalidMessage, "/input", "must be a text or a list of at least one item")
	}
	for i, item := range items {
		pointer := fmt.Sprintf("/input/%d", i)
		switch item.Type {
		case "", "message":
			content, err := toChatContent(item.Content, pointer+"/content")
			if err != nil {
				return nil, err
			}
			messages = append(messages, map[string]any{"role": cmp.Or(item.Role, "user"), "content": content})
		case "function_call":
			messages = appendCall(messages, item)
		case "function_call_output":
			content, err := toChatContent(item.Output, pointer+"/output")
			if err != nil {
				return nil, err
			}
			messages = append(messages, map[string]any{"role": "tool", "tool_call_id": item.CallID, "content": content})
		case "reasoning": // reasoning of an earlier response, which models do not read again
		default:
			return nil, unsupported(pointer, "Items of this type are not supported.")
		}
	}
	return messages, nil
}

// appendCall appends a function call to the assistant's message that contains the preceding calls.
func appendCall(messages []any, item inputItem) []any {
	call := map[string]any{"id": item.CallID, "type": "function", "function": map[string]any{"name": item.Name, "arguments": item.Arguments}}
	if last := len(messages) - 1; last >= 0 {
		if message, _ := messages[last].(map[string]any); message["role"] == "assistant" {
			calls, _ := message["tool_calls"].([]any)
			message["tool_calls"] = append(calls, call)
			return messages
		}
	}
	return append(messages, map[string]any{"role": "assistant", "content": nil, "tool_calls": []any{call}})
}

// toChatContent converts the parts of a message.
func toChatContent(raw json.RawMessage, pointer string) (any, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	var parts []map[string]any
	if err := json.Unmarshal(raw, &parts); err != nil {
		return nil, apperr.Field(apperr.InvalidMessage, pointer, "must be a text or a list of parts")
	}
	converted := make([]any, len(parts))
	for i, part := range parts {
		switch part["type"] {
		case "input_text", "output_text", "text":
			converted[i] = map[string]any{"type": "text", "text": part["text"]}
		case "refusal":
			converted[i] = map[string]any{"type": "text", "text": part["refusal"]}
		case "input_image":
			image := map[string]any{"url": part["image_url"]}
			if part["detail"] != nil {
				image["detail"] = part["detail"]
			}
			converted[i] = map[string]any{"type": "image_url", "image_url": image}
		case "input_file":
			delete(part, "type")
			converted[i] = map[string]any{"type": "file", "file": part}
		default:
			return nil, unsupported(fmt.Sprintf("%s/%d", pointer, i), "Parts of this type are not supported.")
		}
	}
	return converted, nil
}
