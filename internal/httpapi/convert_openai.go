package httpapi

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/chat"
	"parley/internal/store"
)

// maxImages is how many images a question may have.
const maxImages = 50

// chatRequest is what a request of OpenAI's API asks for.
type chatRequest struct {
	conversation  string // empty: none
	metadata      json.RawMessage
	isStreaming   bool
	includesUsage bool

	text         string
	images       []bot.Attachment
	instructions []string
	history      []bot.Turn
}

// question is what is asked when nothing is kept. What the request has of instructions
// comes after the chatbot's own.
func (r chatRequest) question(asked db.Bot) bot.Question {
	parts := r.instructions
	if asked.Instructions != "" {
		parts = append([]string{asked.Instructions}, parts...)
	}
	asked.Instructions = strings.Join(parts, "\n\n")
	return bot.Question{Bot: asked, Text: r.text, Attachments: r.images, History: r.history}
}

// message is what is said in a conversation.
func (r chatRequest) message(once *store.IdempotencyKey) chat.NewMessage {
	return chat.NewMessage{
		Content:  r.text,
		Metadata: r.metadata,
		Attachments: each(r.images, func(one bot.Attachment) chat.NewAttachment {
			return chat.NewAttachment{Type: one.Type, Filename: one.Filename, File: one.File}
		}),
		IdempotencyKey: once,
	}
}

func fromAPIChat(body openapi.ChatCompletionCreate) (chatRequest, error) {
	wanted := chatRequest{isStreaming: orZero(body.Stream), includesUsage: orZero(orZero(body.StreamOptions).IncludeUsage)}
	if raw := orZero(body.Metadata); raw != nil {
		// Not into a struct, in which "Conversation_Id" would stand for the key.
		var metadata map[string]json.RawMessage
		if err := json.Unmarshal(raw, &metadata); err != nil {
			return chatRequest{}, fmt.Errorf("read the metadata: %w", err)
		}
		if named := metadata["conversation_id"]; named != nil {
			if err := json.Unmarshal(named, &wanted.conversation); err != nil {
				return chatRequest{}, fmt.Errorf("read the conversation's id: %w", err)
			}
		}
		wanted.metadata = raw
	}
	last := len(body.Messages) - 1
	if body.Messages[last].Role != openapi.ChatMessageRoleUser {
		return chatRequest{}, apperr.Field(apperr.InvalidMessage, fmt.Sprintf("/messages/%d/role", last), "must be user in the last message")
	}
	for i, message := range body.Messages {
		content := chatContent{pointer: fmt.Sprintf("/messages/%d/content", i), takesImages: message.Role == openapi.ChatMessageRoleUser, isKept: wanted.conversation != ""}
		if err := content.read(deref(message.Content)); err != nil {
			return chatRequest{}, err
		}
		if i == last {
			if err := content.mustBeQuestion(); err != nil {
				return chatRequest{}, err
			}
			wanted.text, wanted.images = content.text, content.images
			return wanted, nil
		}
		wanted.heard(message.Role, content)
	}
	return wanted, nil
}

// heard notes a message before the question; one that says nothing is no turn.
func (r *chatRequest) heard(role openapi.ChatMessageRole, content chatContent) {
	if strings.TrimSpace(content.text) == "" && len(content.images) == 0 {
		return
	}
	switch role {
	case openapi.ChatMessageRoleSystem, openapi.ChatMessageRoleDeveloper:
		r.instructions = append(r.instructions, content.text)
	case openapi.ChatMessageRoleUser, openapi.ChatMessageRoleAssistant:
		r.history = append(r.history, bot.Turn{IsAsker: role == openapi.ChatMessageRoleUser, Text: content.text, Attachments: content.images})
	case openapi.ChatMessageRoleTool: // chatbots call no tools
	}
}

// chatContent is the content of a message, found at pointer.
type chatContent struct {
	pointer     string
	takesImages bool
	isKept      bool
	text        string
	images      []bot.Attachment
}

// read takes a text or a list of parts.
func (c *chatContent) read(raw json.RawMessage) error {
	if raw == nil || json.Unmarshal(raw, &c.text) == nil {
		return nil
	}
	var parts []map[string]json.RawMessage
	if json.Unmarshal(raw, &parts) != nil {
		return apperr.Field(apperr.InvalidMessage, c.pointer, "must be a text or a list of parts")
	}
	var lines []string
	for i, part := range parts {
		at := fmt.Sprintf("%s/%d", c.pointer, i)
		var kind, text string
		if json.Unmarshal(part["type"], &kind) != nil || kind == "" {
			return apperr.Field(apperr.InvalidMessage, at+"/type", "must be a text")
		}
		switch {
		case kind == "text":
			if part["text"] == nil || json.Unmarshal(part["text"], &text) != nil {
				return apperr.Field(apperr.InvalidMessage, at+"/text", "must be a text")
			}
			lines = append(lines, text)
		case kind == "image_url" && c.takesImages:
			image, err := c.image(part["image_url"], at+"/image_url/url")
			if err != nil {
				return err
			}
			c.images = append(c.images, image)
		}
	}
	c.text = strings.Join(lines, "\n")
	return nil
}

func (c *chatContent) image(raw json.RawMessage, at string) (bot.Attachment, error) {
	var image map[string]json.RawMessage
	var address string
	if json.Unmarshal(raw, &image) != nil || json.Unmarshal(image["url"], &address) != nil {
		return bot.Attachment{}, apperr.Field(apperr.InvalidMessage, at, "must be a text")
	}
	if !c.isKept && strings.HasPrefix(address, "data:") {
		return bot.Attachment{Type: "image", File: address}, nil
	}
	parsed, err := url.Parse(address)
	if err != nil || parsed.Hostname() == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
		return bot.Attachment{}, apperr.Field(apperr.InvalidMessage, at, "must be an http or https URL")
	}
	return bot.Attachment{Type: "image", Filename: path.Base(parsed.Path), File: address}, nil
}

// mustBeQuestion refuses what is not to be asked.
func (c *chatContent) mustBeQuestion() error {
	switch {
	case utf8.RuneCountInString(c.text) > maxContent:
		return &apperr.Error{Kind: apperr.TooLarge, Message: "A message may have 32,768 characters.", Violations: []apperr.Violation{{In: "body", Pointer: c.pointer}}}
	case len(c.images) > maxImages:
		return apperr.Field(apperr.InvalidMessage, c.pointer, "must have at most 50 images")
	case strings.TrimSpace(c.text) == "" && len(c.images) == 0:
		return apperr.Field(apperr.InvalidMessage, c.pointer, "must not be blank when there are no images")
	}
	return nil
}

func (a chatAnswer) id() string { return "chatcmpl-" + a.reply.RunID.String() }

func (a chatAnswer) toAPICompletion(outcome *chat.Outcome) openapi.CreateChatCompletion200JSONResponse {
	answer := openapi.CreateChatCompletion200JSONResponse{Body: openapi.ChatCompletion{
		ID:      a.id(),
		Object:  openapi.ChatCompletionObjectChatCompletion,
		Created: a.created.Unix(),
		Model:   a.model,
		Choices: []openapi.ChatChoice{{
			Message: openapi.ChatReply{
				Role: openapi.ChatReplyRoleAssistant, Content: outcome.Content, Refusal: nullable.NewNullNullable[string](),
			},
			Logprobs:     nullable.NewNullNullable[map[string]any](),
			FinishReason: toAPIFinishReason(outcome),
		}},
		Usage: toAPIChatUsage(outcome.Answer),
	}}
	if a.reply.IsKept() {
		answer.Headers.XRunID = &a.reply.RunID
	}
	return answer
}

// toAPIChunk is a chunk without choices.
func (a chatAnswer) toAPIChunk() openapi.ChatCompletionChunk {
	return openapi.ChatCompletionChunk{
		ID:      a.id(),
		Object:  openapi.ChatCompletionChunkObjectChatCompletionChunk,
		Created: a.created.Unix(),
		Model:   a.model,
		Choices: []openapi.ChatChunkChoice{},
	}
}

// toAPIFinishReason tells how a reply ended that has not failed; OpenAI's API has no
// word for one that somebody has cancelled.
func toAPIFinishReason(outcome *chat.Outcome) openapi.ChatChoiceFinishReason {
	if outcome.FinishReason == "length" {
		return openapi.ChatChoiceFinishReasonLength
	}
	return openapi.ChatChoiceFinishReasonStop
}

func toAPIChatUsage(answer bot.Answer) openapi.ChatUsage {
	prompt, completion := deref(answer.PromptTokens), deref(answer.CompletionTokens)
	return openapi.ChatUsage{PromptTokens: prompt, CompletionTokens: completion, TotalTokens: prompt + completion}
}

func toAPIOpenAIModel(who auth.Principal, slug string, created time.Time) openapi.OpenAIModel {
	return openapi.OpenAIModel{ID: slug, Object: openapi.OpenAIModelObjectModel, Created: created.Unix(), OwnedBy: who.OrganizationName}
}

// orZero is a nullable field's value; absent and null are both none.
func orZero[T any](field nullable.Nullable[T]) T {
	value, _ := field.Get()
	return value
}
