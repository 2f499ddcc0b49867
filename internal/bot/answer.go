package bot

import (
	"github.com/google/uuid"

	"parley/gen/db"
)

// Question is what a chatbot is asked.
type Question struct {
	Bot  db.Bot
	Text string
	// Selection restricts what the chatbot may use of what it knows.
	Selection Selection
	// Attachments came with the text, History is what was said before it, oldest first: for engines that want them.
	Attachments []Attachment
	History     []Turn
}

// Turn is what somebody said in the conversation before the question.
type Turn struct {
	IsAsker     bool // or else it was said to the asker, by the chatbot or an agent
	Text        string
	Attachments []Attachment
}

// Attachment is what came along with a text: a file that has an address.
type Attachment struct {
	Type     string // image, video, audio, sticker or other
	Filename string
	File     string
}

// Answer is what there is to say about a reply besides its text.
type Answer struct {
	Citations   []Citation
	Nodes       []CitationNode
	Suggestions []Suggestion
	// Context is what the reply was made of, for the record.
	Context string
	// FinishReason is one of the contract's: stop, length, cancelled, error.
	FinishReason string
	// PromptTokens and CompletionTokens are nil when the engine counts no tokens.
	PromptTokens     *int
	CompletionTokens *int
}

// Citation is an entry that a reply was made of.
type Citation struct {
	ID       uuid.UUID `json:"id"`
	Filename string    `json:"filename"`
	File     *string   `json:"file"`
	Question string    `json:"question,omitempty"`
}

// CitationNode is the text that a reply was made of, and how near it is to the question.
type CitationNode struct {
	ChatbotTextNode TextNode `json:"chatbotTextNode"`
	Score           float64  `json:"score"`
	DisplayScore    string   `json:"displayScore"`
}

// TextNode is a piece of what a chatbot knows.
type TextNode struct {
	ID       uuid.UUID `json:"id"`
	Text     string    `json:"text"`
	Filename string    `json:"filename"`
}

// Suggestion is what the user might say next.
type Suggestion struct {
	Text    string `json:"text"`
	Context string `json:"context,omitempty"`
}
