package llm

import (
	"encoding/json"
	"strings"
)

// meaning is the meaning of a finish reason, which servers name differently.
type meaning string

const (
	meansStop     meaning = "stop"
	meansLength   meaning = "length"
	meansFiltered meaning = "content_filter"
	meansToolCall meaning = "tool_calls"
	meansFailed   meaning = "error"
)

// meanings are the meanings of the finish reasons that servers use, in lower case and with underscores. Unknown
// finish reasons mean that the reply is complete.
var meanings = map[string]meaning{
	"length": meansLength, "max_tokens": meansLength, "max_output_tokens": meansLength, "max_new_tokens": meansLength, "max_length": meansLength,
	"model_length": meansLength, "token_limit": meansLength, "truncated": meansLength, "incomplete": meansLength, "model_context_window_exceeded": meansLength,

	"content_filter": meansFiltered, "content_filtered": meansFiltered, "filtered": meansFiltered, "safety": meansFiltered, "image_safety": meansFiltered,
	"blocked": meansFiltered, "blocklist": meansFiltered, "prohibited_content": meansFiltered, "recitation": meansFiltered, "spii": meansFiltered,
	"sensitive": meansFiltered, "refusal": meansFiltered, "moderation": meansFiltered, "guardrail_intervened": meansFiltered,

	"tool_calls": meansToolCall, "tool_call": meansToolCall, "tool_use": meansToolCall, "function_call": meansToolCall,

	"error": meansFailed, "server_error": meansFailed, "network_error": meansFailed, "insufficient_system_resource": meansFailed, "abort": meansFailed,
	"engine_overloaded": meansFailed,
}

// meaningOf returns the meaning of a finish reason, empty if there is none.
func meaningOf(raw json.RawMessage) meaning {
	reason := decode[string](raw)
	if reason == "" {
		reason = decode[struct{ Type string }](raw).Type
	}
	reason = strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(strings.TrimSpace(reason)))
	if reason == "" || reason == "null" {
		return ""
	}
	if known, ok := meanings[reason]; ok {
		return known
	}
	return meansStop
}
