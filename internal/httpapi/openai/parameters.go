package openai

import (
	"encoding/json"
	"fmt"
	"slices"

	"parley/internal/apperr"
)

// unsupportedParts are kinds of content parts that a chatbot cannot use.
var unsupportedParts = []string{"file", "input_audio", "input_file"}

// checkParameters returns an error if a parameter asks for another reply than the chatbot can give, because it does
// not pass the request on to a model server. Hints are ignored.
func checkParameters(body []byte) error {
	var request struct {
		ToolChoice     json.RawMessage `json:"tool_choice"`
		FunctionCall   json.RawMessage `json:"function_call"`
		ResponseFormat json.RawMessage `json:"response_format"`
		Modalities     json.RawMessage `json:"modalities"`
		Messages       []struct {
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
	}
	_ = json.Unmarshal(body, &request) // declared fields are validated; other fields can have any type
	text := func(raw json.RawMessage) (text string) {
		_ = json.Unmarshal(raw, &text) // any other value is not a name
		return text
	}
	isObject := func(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }
	var format struct {
		Type json.RawMessage `json:"type"`
	}
	_ = json.Unmarshal(request.ResponseFormat, &format)
	var modalities []string
	_ = json.Unmarshal(request.Modalities, &modalities)
	switch {
	case isObject(request.ToolChoice) || text(request.ToolChoice) == "required":
		return unsupported("/tool_choice", "The model cannot call tools.")
	case isObject(request.FunctionCall):
		return unsupported("/function_call", "The model cannot call functions.")
	case text(format.Type) == "json_schema" || text(format.Type) == "json_object":
		return unsupported("/response_format", "The model writes text only.")
	case slices.Contains(modalities, "audio"):
		return unsupported("/modalities", "The model writes text only.")
	}
	for i, message := range request.Messages {
		var parts []struct {
			Type json.RawMessage `json:"type"`
		}
		_ = json.Unmarshal(message.Content, &parts) // a string has no parts
		for j, part := range parts {
			if slices.Contains(unsupportedParts, text(part.Type)) {
				return unsupported(fmt.Sprintf("/messages/%d/content/%d", i, j), "The model cannot read files and audio.")
			}
		}
	}
	return nil
}

// unsupported returns OpenAI's error for a parameter that a model does not support.
func unsupported(pointer, message string) error {
	violation := apperr.Violation{In: "body", Pointer: pointer, Detail: "is not supported by this model"}
	return &apperr.Error{
		Kind: apperr.InvalidRequest, Code: "unsupported_parameter", Violations: []apperr.Violation{violation},
		Message: fmt.Sprintf("Unsupported parameter: '%s'. %s", paramOf(violation), message),
	}
}
