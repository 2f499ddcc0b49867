package llm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/faq"
)

// Relay implements bot.Relayer.
func (e *Engine) Relay(ctx context.Context, question bot.Question, request bot.Request, emit func(chunk json.RawMessage) error) (bot.Answer, error) {
	answer := bot.NewAnswer()
	model, apiKey, matches, err := e.prepare(ctx, question)
	if err != nil {
		return answer, err
	}
	body, err := relayBody(*model, systemPrompt(question.Bot.Instructions, selectKnowledge(matches, windows[0])), request)
	if err != nil {
		return answer, err
	}
	patience := timeoutsOf(*model)
	ctx, cancel := context.WithTimeoutCause(ctx, patience.total, errTooLong)
	defer cancel()
	reply, err := e.client.complete(ctx, call{
		organizationID: question.Bot.OrganizationID, baseURL: model.BaseURL, model: model.Name, apiKey: apiKey, body: body, relay: emit, timeouts: patience,
	}, nil)
	answer.Model = model.Name
	if reply != nil {
		reply.addUsage(&answer, *model)
	}
	if err == nil {
		answer.FinishReason = reply.finishReason()
	}
	return answer, err
}

// prepare returns the parts of a call for a question.
func (e *Engine) prepare(ctx context.Context, question bot.Question) (*bot.Model, string, []faq.Match, error) {
	model, err := bot.ModelOf(question.Bot)
	if err != nil {
		return nil, "", nil, err
	}
	if model == nil {
		return nil, "", nil, errors.New("the chatbot has no model")
	}
	apiKey, err := bot.ModelAPIKey(question.Bot, e.keys)
	if err != nil {
		return nil, "", nil, apperr.Wrap(apperr.Internal, "The chatbot's API key for the model server cannot be read; it must be set again.", err)
	}
	matches, err := e.faqs.Search(ctx, question)
	return model, apiKey, matches, err
}

// relayBody returns the body of a relayed request. The caller's parameters take precedence over the
// chatbot's. Like every request it asks for a stream with the usage.
func relayBody(m bot.Model, prompt string, request bot.Request) ([]byte, error) {
	body := maps.Clone(m.Parameters)
	if body == nil {
		body = make(map[string]json.RawMessage)
	}
	if request["max_tokens"] != nil || request["max_completion_tokens"] != nil {
		delete(body, "max_tokens") // servers reject requests with both
		delete(body, "max_completion_tokens")
	}
	maps.Copy(body, request)
	options := map[string]json.RawMessage{}
	if raw := request["stream_options"]; raw != nil {
		if err := json.Unmarshal(raw, &options); err != nil {
			return nil, apperr.Field(apperr.InvalidRequest, "/stream_options", "must be an object")
		}
	}
	options["include_usage"] = json.RawMessage("true")
	messages, err := withPrompt(request["messages"], prompt)
	if err != nil {
		return nil, err
	}
	set := map[string]any{"model": m.Name, "messages": messages, "stream": true, "stream_options": options}
	if m.Temperature != nil && request["temperature"] == nil {
		set["temperature"] = *m.Temperature
	}
	for name, value := range set {
		if body[name], err = json.Marshal(value); err != nil {
			return nil, fmt.Errorf("encode the request to the model server: %w", err)
		}
	}
	return json.Marshal(body)
}

// withPrompt returns messages with a system prompt before them. It becomes the beginning of the first
// message if that is a system prompt, too: the chat templates of some models accept only one.
func withPrompt(raw json.RawMessage, prompt string) ([]json.RawMessage, error) {
	var messages []json.RawMessage
	if err := json.Unmarshal(raw, &messages); err != nil {
		return nil, apperr.Field(apperr.InvalidMessage, "/messages", "must be a list")
	}
	if prompt == "" {
		return messages, nil
	}
	var first map[string]json.RawMessage
	var role string
	if json.Unmarshal(messages[0], &first) == nil && json.Unmarshal(first["role"], &role) == nil && (role == "system" || role == "developer") {
		if content, err := prepend(first["content"], prompt); err == nil {
			first["content"] = content
			messages[0], err = json.Marshal(first)
			return messages, err
		}
	}
	system, err := json.Marshal(chatMessage{Role: "system", Content: prompt})
	return append([]json.RawMessage{system}, messages...), err
}

// prepend returns the content of a message, a string or a list of parts, with a text before it.
func prepend(content json.RawMessage, text string) (json.RawMessage, error) {
	var own string
	if json.Unmarshal(content, &own) == nil {
		return json.Marshal(text + "\n\n" + own)
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(content, &parts); err != nil {
		return nil, err
	}
	part, err := json.Marshal(contentPart{Type: "text", Text: text})
	if err != nil {
		return nil, err
	}
	return json.Marshal(append([]json.RawMessage{part}, parts...))
}

// relayChunk passes a chunk on. Chunks are held back until the model begins to reply, because until
// then the call may be retried.
func (c *completion) relayChunk(raw []byte) error {
	if err := c.decodeChunk(raw); err != nil {
		return err
	}
	chunk, err := asChunk(raw)
	if err != nil {
		return err
	}
	c.held = append(c.held, chunk)
	if !c.hasBegun && c.finish == "" {
		return nil
	}
	for _, chunk := range c.held {
		if c.emitErr = c.relay(chunk); c.emitErr != nil {
			return c.emitErr
		}
	}
	c.held = c.held[:0]
	return nil
}

// asChunk returns a copy of a chunk. If a server that does not stream sent a message, it becomes a delta.
func asChunk(raw []byte) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	var choices []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(fields["choices"], &choices); err != nil || len(choices) == 0 || choices[0]["message"] == nil {
		return bytes.Clone(raw), nil
	}
	for _, choice := range choices {
		choice["delta"] = choice["message"]
		delete(choice, "message")
	}
	var err error
	if fields["choices"], err = json.Marshal(choices); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// relayStatusError is statusError for a relayed request, whose error can be the caller's fault. Callers receive codes
// and the name of a parameter, but not the server's own message.
func relayStatusError(response *http.Response, c call) *callError {
	status := response.StatusCode
	if status != http.StatusBadRequest && status != http.StatusRequestEntityTooLarge && status != http.StatusUnprocessableEntity {
		return statusError(response, c)
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, 16<<10)) // a partial body may still have the codes
	r := newReport(status, body)
	codes := r.codes()
	apiErr := &apperr.Error{
		Kind:    apperr.InvalidRequest,
		Message: "The model server rejected the request (" + codes + ").",
		Err:     fmt.Errorf("the model server answered %s, %s", response.Status, codes),
	}
	if param := r.param; paramPattern.MatchString(param) {
		apiErr.Violations = []apperr.Violation{{In: "body", Parameter: param, Detail: "was rejected by the model server"}}
	}
	if r.isOverflow() {
		apiErr.Code, apiErr.Message = "context_length_exceeded", "The messages are longer than the context of the model."
		apiErr.Violations = []apperr.Violation{{In: "body", Pointer: "/messages", Detail: "must fit into the context of the model"}}
	}
	return &callError{kind: "refused", apiErr: apiErr, shows: healthy}
}

var paramPattern = regexp.MustCompile(`^[A-Za-z0-9_.\[\]-]{1,100}$`)
