package openai

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/chat"
	"parley/internal/httpapi/contract"
	"parley/internal/store"
)

// maxImages is how many images a question can have.
const maxImages = 50

// chatRequest is a chat completion request, decoded for the domain.
type chatRequest struct {
	conversation  string // empty: stateless
	metadata      json.RawMessage
	isStreaming   bool
	includesUsage bool

	text         string
	images       []bot.Attachment
	instructions []string
	history      []bot.Turn
}

// question returns the question of a stateless completion. The caller's instructions follow those
// of the chatbot.
func (r chatRequest) question(model db.Bot) bot.Question {
	instructions := r.instructions
	if model.Instructions != "" {
		instructions = append([]string{model.Instructions}, instructions...)
	}
	model.Instructions = strings.Join(instructions, "\n\n")
	return bot.Question{Bot: model, Text: r.text, Attachments: r.images, History: r.history}
}

// message returns the message that is stored in a conversation.
func (r chatRequest) message(key *store.IdempotencyKey) chat.NewMessage {
	attachments := make([]chat.NewAttachment, len(r.images))
	for i, image := range r.images {
		attachments[i] = chat.NewAttachment{Type: image.Type, Filename: image.Filename, File: image.File}
	}
	return chat.NewMessage{Content: r.text, Metadata: r.metadata, Attachments: attachments, IdempotencyKey: key}
}

func fromAPIChat(body openapi.ChatCompletionCreate) (chatRequest, error) {
	var request chatRequest
	if err := request.readOptions(body); err != nil {
		return chatRequest{}, err
	}
	last := len(body.Messages) - 1
	if body.Messages[last].Role != openapi.ChatMessageRoleUser {
		return chatRequest{}, apperr.Field(apperr.InvalidMessage, fmt.Sprintf("/messages/%d/role", last), "must be user in the last message")
	}
	for i, message := range body.Messages {
		content := chatContent{pointer: fmt.Sprintf("/messages/%d/content", i), takesImages: message.Role == openapi.ChatMessageRoleUser, isStored: request.conversation != ""}
		if message.Content != nil {
			if err := content.read(*message.Content); err != nil {
				return chatRequest{}, err
			}
		}
		if i < last {
			request.addTurn(message.Role, content)
			continue
		}
		if err := content.checkQuestion(); err != nil {
			return chatRequest{}, err
		}
		request.text, request.images = content.text, content.images
	}
	return request, nil
}

// readOptions reads everything but the messages.
func (r *chatRequest) readOptions(body openapi.ChatCompletionCreate) error {
	r.isStreaming, r.includesUsage = orZero(body.Stream), orZero(orZero(body.StreamOptions).IncludeUsage)
	if r.metadata = orZero(body.Metadata); r.metadata == nil {
		return nil
	}
	// Not into a struct: its field would also match "Conversation_Id".
	var metadata map[string]json.RawMessage
	if err := json.Unmarshal(r.metadata, &metadata); err != nil {
		return apperr.Field(apperr.InvalidRequest, "/metadata", "must be of type object")
	}
	if id := metadata["conversation_id"]; id != nil {
		if err := json.Unmarshal(id, &r.conversation); err != nil {
			return apperr.Field(apperr.InvalidRequest, "/metadata/conversation_id", "must be of type string")
		}
	}
	return nil
}

// lastQuestion returns the text of the last message of the user, for the search for knowledge.
func lastQuestion(messages []openapi.ChatMessage) string {
	for _, message := range slices.Backward(messages) {
		if message.Role != openapi.ChatMessageRoleUser || message.Content == nil {
			continue
		}
		content := chatContent{}
		_ = content.read(*message.Content) // a message of another form is ignored in the search
		return content.text
	}
	return ""
}

// addTurn adds a message before the question. Blank messages are skipped.
func (r *chatRequest) addTurn(role openapi.ChatMessageRole, content chatContent) {
	if strings.TrimSpace(content.text) == "" && len(content.images) == 0 {
		return
	}
	switch role {
	case openapi.ChatMessageRoleSystem, openapi.ChatMessageRoleDeveloper:
		r.instructions = append(r.instructions, content.text)
	case openapi.ChatMessageRoleUser, openapi.ChatMessageRoleAssistant:
		r.history = append(r.history, bot.Turn{IsAsker: role == openapi.ChatMessageRoleUser, Text: content.text, Attachments: content.images})
	case openapi.ChatMessageRoleTool, openapi.ChatMessageRoleFunction: // chatbots do not call tools
	}
}

// chatContent is the content of the message at pointer.
type chatContent struct {
	pointer     string
	takesImages bool
	isStored    bool
	text        string
	images      []bot.Attachment
}

// read reads a string or a list of parts.
func (c *chatContent) read(raw json.RawMessage) error {
	if json.Unmarshal(raw, &c.text) == nil {
		return nil
	}
	var parts []map[string]json.RawMessage
	if json.Unmarshal(raw, &parts) != nil {
		return apperr.Field(apperr.InvalidMessage, c.pointer, "must be a string or a list of parts")
	}
	var lines []string
	for i, part := range parts {
		at := fmt.Sprintf("%s/%d", c.pointer, i)
		var kind, text string
		if json.Unmarshal(part["type"], &kind) != nil || kind == "" {
			return apperr.Field(apperr.InvalidMessage, at+"/type", "must be a string")
		}
		switch {
		case kind == "text":
			if part["text"] == nil || json.Unmarshal(part["text"], &text) != nil {
				return apperr.Field(apperr.InvalidMessage, at+"/text", "must be a string")
			}
			lines = append(lines, text)
		case kind == "image_url" && c.takesImages:
			image, err := c.readImage(part["image_url"], at+"/image_url/url")
			if err != nil {
				return err
			}
			c.images = append(c.images, image)
		}
	}
	c.text = strings.Join(lines, "\n")
	return nil
}

// readImage reads the image_url of a part. Data URLs are accepted where they are not stored.
func (c *chatContent) readImage(raw json.RawMessage, at string) (bot.Attachment, error) {
	var image map[string]json.RawMessage
	var address string
	if json.Unmarshal(raw, &image) != nil || json.Unmarshal(image["url"], &address) != nil {
		return bot.Attachment{}, apperr.Field(apperr.InvalidMessage, at, "must be a string")
	}
	if !c.isStored && strings.HasPrefix(address, "data:") {
		return bot.Attachment{Type: "image", File: address}, nil
	}
	parsed, err := url.Parse(address)
	if err != nil || parsed.Hostname() == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
		return bot.Attachment{}, apperr.Field(apperr.InvalidMessage, at, "must be an http or https URL")
	}
	return bot.Attachment{Type: "image", Filename: path.Base(parsed.Path), File: address}, nil
}

// checkQuestion checks the content of the last message.
func (c *chatContent) checkQuestion() error {
	switch {
	case utf8.RuneCountInString(c.text) > contract.MaxContent:
		return &apperr.Error{Kind: apperr.TooLarge, Message: contract.ContentTooLarge, Violations: []apperr.Violation{{In: "body", Pointer: c.pointer}}}
	case len(c.images) > maxImages:
		return apperr.Field(apperr.InvalidMessage, c.pointer, fmt.Sprintf("must have at most %d images", maxImages))
	case strings.TrimSpace(c.text) == "" && len(c.images) == 0:
		return apperr.Field(apperr.InvalidMessage, c.pointer, "must not be blank when there are no images")
	}
	return nil
}

// orZero returns the value of a field, or the zero value if it is absent or null.
func orZero[T any](field nullable.Nullable[T]) T {
	value, _ := field.Get()
	return value
}
