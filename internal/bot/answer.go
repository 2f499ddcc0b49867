package bot

import (
	"strings"

	"github.com/google/uuid"

	"parley/gen/db"
)

// Answer is the result of an engine, except for the text of its reply.
type Answer struct {
	Citations   []Citation
	Nodes       []CitationNode
	Suggestions []Suggestion
	// Context is the knowledge that the reply is based on, for the record.
	Context string
	// FinishReason is stop, length, content_filter, cancelled or error, as in the API document.
	FinishReason string
	// PromptTokens and CompletionTokens are nil if the engine does not count tokens. CachedTokens are
	// part of PromptTokens, ReasoningTokens of CompletionTokens; nil if they are not reported.
	PromptTokens     *int
	CompletionTokens *int
	CachedTokens     *int
	ReasoningTokens  *int
	// Model names the model that wrote the reply, as its server names it. Empty if no model did.
	Model string
}

// NewAnswer returns the Answer of a reply without citations or suggestions. Its lists are empty,
// not nil.
func NewAnswer() Answer {
	return Answer{Citations: []Citation{}, Nodes: []CitationNode{}, Suggestions: []Suggestion{}, FinishReason: "stop"}
}

// Citation names an entry that a reply is based on.
type Citation struct {
	ID       uuid.UUID `json:"id"`
	Filename string    `json:"filename"`
	File     *string   `json:"file"`
	Question string    `json:"question,omitempty"`
}

// CitationNode is a text that a reply is based on and how well it matches the question.
type CitationNode struct {
	ChatbotTextNode TextNode `json:"chatbotTextNode"`
	Score           float64  `json:"score"`
	DisplayScore    string   `json:"displayScore"`
}

// TextNode is one text of a chatbot's knowledge.
type TextNode struct {
	ID       uuid.UUID `json:"id"`
	Text     string    `json:"text"`
	Filename string    `json:"filename"`
}

// Suggestion is a question that the user may want to ask next.
type Suggestion struct {
	Text    string `json:"text"`
	Context string `json:"context,omitempty"`
}

// defaultReply is the reply to an unanswerable question if the chatbot has none of its own.
const defaultReply = "Sorry, I have no answer to that."

// UnanswerableReply returns the chatbot's reply to a question that it cannot answer.
func UnanswerableReply(chatbot db.Bot) string { return orElse(chatbot.UnanswerableReply, defaultReply) }

// orElse returns text, or alternative if text is blank.
func orElse(text, alternative string) string {
	if strings.TrimSpace(text) == "" {
		return alternative
	}
	return text
}
