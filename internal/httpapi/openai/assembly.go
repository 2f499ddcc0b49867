package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// assembly is a response that is assembled from its chunks. It does not depend on the fields of messages, so that
// unknown ones are kept: strings are concatenated, and lists of indexed items are merged by index.
type assembly struct {
	fields  map[string]any
	choices any
}

// replaced are the fields whose value is complete in each chunk that has it.
var replaced = []string{"index", "id", "type", "role", "name", "finish_reason", "format", "expires_at"}

func (a *assembly) add(chunk json.RawMessage) error {
	decoder := json.NewDecoder(bytes.NewReader(chunk))
	decoder.UseNumber()
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil {
		return fmt.Errorf("read a chunk: %w", err)
	}
	if fields["usage"] != nil {
		var raw map[string]json.RawMessage
		_ = json.Unmarshal(chunk, &raw) // it has been decoded before
		fields["usage"] = withTotal(raw["usage"])
	}
	if a.fields == nil {
		a.fields = make(map[string]any)
	}
	for name, value := range fields {
		switch {
		case name == "choices":
			a.choices = merged(a.choices, value)
		case value != nil:
			a.fields[name] = value
		}
	}
	return nil
}

// merged returns a value combined with its continuation.
func merged(value, next any) any {
	switch next := next.(type) {
	case nil:
		return value
	case string:
		if before, ok := value.(string); ok {
			return before + next
		}
	case map[string]any:
		before, ok := value.(map[string]any)
		if !ok {
			return next
		}
		for name, part := range next {
			if slices.Contains(replaced, name) && part != nil && part != "" {
				before[name] = part
			} else if !slices.Contains(replaced, name) || before[name] == nil {
				before[name] = merged(before[name], part)
			}
		}
		return before
	case []any:
		before, _ := value.([]any)
		for _, item := range next {
			before = mergedItem(before, item)
		}
		return before
	}
	return next
}

// mergedItem returns a list with an item added. The item continues the one with the same index, or is appended.
func mergedItem(list []any, item any) []any {
	indexOf := func(item any) any {
		object, _ := item.(map[string]any)
		return object["index"]
	}
	index := indexOf(item)
	at := slices.IndexFunc(list, func(before any) bool { return index != nil && indexOf(before) == index })
	if at < 0 {
		return append(list, merged(nil, item))
	}
	list[at] = merged(list[at], item)
	return list
}

// document returns the whole response.
func (a *assembly) document(c completion) map[string]any {
	document := a.fields
	if document == nil {
		document = make(map[string]any)
	}
	document["id"], document["object"], document["created"], document["model"] = c.id, "chat.completion", c.created.Unix(), c.model
	choices, _ := a.choices.([]any)
	for i, item := range choices {
		choice, _ := item.(map[string]any)
		if choice == nil {
			continue
		}
		message, _ := choice["delta"].(map[string]any)
		if message == nil {
			message = make(map[string]any)
		}
		delete(choice, "delta")
		choice["message"] = completeMessage(message)
		for name, value := range map[string]any{"index": i, "logprobs": nil, "finish_reason": "stop"} {
			if choice[name] == nil {
				choice[name] = value
			}
		}
	}
	document["choices"] = choices
	return document
}

// completeMessage adds fields that a message has and deltas may lack, and removes those that only deltas have.
func completeMessage(message map[string]any) map[string]any {
	message["role"] = "assistant"
	calls, _ := message["tool_calls"].([]any)
	for _, call := range calls {
		if call, ok := call.(map[string]any); ok {
			delete(call, "index")
		}
	}
	content, hasContent := message["content"].(string)
	if !hasContent || content == "" && len(calls) > 0 {
		message["content"] = nil
	}
	if message["refusal"] == nil || message["refusal"] == "" {
		message["refusal"] = nil
	}
	return message
}
