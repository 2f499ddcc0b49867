package llm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"parley/internal/bot"
	"parley/internal/faq"
)

// The limits of the FAQs that a request contains.
const (
	maxKnowledge       = 6
	maxKnowledgeTokens = 3000
)

// knowledgePrompt introduces the FAQs.
const knowledgePrompt = "These entries of the knowledge base may bear on the question, the nearest first. " +
	"Where they answer it, answer from them; where they do not, say that you do not know rather than guess. " +
	"Do not mention the entries or their numbers."

// chatMessage is a message of the request. Content is a string or a []contentPart.
type chatMessage struct {
	Role    string `json:"role"`
	Content any    `json:"content"`
}

type contentPart struct {
	Type     string    `json:"type"`
	Text     string    `json:"text,omitempty"`
	ImageURL *imageURL `json:"image_url,omitempty"`
}

type imageURL struct {
	URL string `json:"url"`
}

// requestBody returns the body of a chat completions request. It asks for a stream if the server can
// stream, so that the reply can be shown as it grows and a stall can be detected.
func requestBody(m bot.Model, question bot.Question, knowledge []faq.Match, s shape) ([]byte, error) {
	body := map[string]any{}
	for name, value := range m.Parameters {
		body[name] = value
	}
	if m.Temperature != nil {
		body["temperature"] = *m.Temperature
	}
	s.apply(body)
	messages := requestMessages(m, question, knowledge, windows[s.window])
	if s.omitsSystem {
		messages = withoutSystem(messages)
	}
	body["model"], body["messages"] = m.Name, messages
	return json.Marshal(body)
}

func requestMessages(m bot.Model, question bot.Question, knowledge []faq.Match, window float64) []chatMessage {
	var messages []chatMessage
	if prompt := systemPrompt(question.Bot.Instructions, knowledge); prompt != "" {
		messages = append(messages, chatMessage{Role: "system", Content: prompt})
	}
	turns := recentTurns(question.History, historyRoom(question.History, m.HistoryTokens, window))
	if last := len(turns) - 1; last >= 0 && turns[last].IsAsker {
		// The last turn got no reply: it is part of the question.
		question.Text = strings.TrimSpace(turns[last].Text + "\n\n" + question.Text)
		turns = turns[:last]
	}
	for _, turn := range turns {
		messages = append(messages, chatMessage{Role: role(turn), Content: turn.Text})
	}
	return append(messages, chatMessage{Role: "user", Content: questionContent(question)})
}

// systemPrompt joins the chatbot's instructions and the FAQs that match the question.
func systemPrompt(instructions string, knowledge []faq.Match) string {
	parts := make([]string, 0, 2+len(knowledge))
	if text := strings.TrimSpace(instructions); text != "" {
		parts = append(parts, text)
	}
	if len(knowledge) > 0 {
		parts = append(parts, knowledgePrompt)
	}
	for i, match := range knowledge {
		parts = append(parts, fmt.Sprintf("%d. %s\n%s", i+1, match.Question, match.Answer))
	}
	return strings.Join(parts, "\n\n")
}

// selectKnowledge selects the matches to send. The matches are ordered best first. Those that would exceed the token
// limit are skipped, except for the best one.
func selectKnowledge(matches []faq.Match, window float64) (knowledge []faq.Match) {
	if window == 0 {
		return nil
	}
	room := int(maxKnowledgeTokens * window)
	for _, match := range matches {
		size := estimateTokens(match.Question) + estimateTokens(match.Answer)
		isRelevant := match.IsAnswer() || match.IsRelated(matches[0])
		if isRelevant && len(knowledge) < maxKnowledge && (size <= room || len(knowledge) == 0) {
			knowledge = append(knowledge, match)
			room -= size
		}
	}
	return knowledge
}

// historyRoom returns the number of tokens of history that a request may contain: a part of those that fit into the
// limit.
func historyRoom(history []bot.Turn, limit int, window float64) int {
	if window == 1 {
		return limit
	}
	size := 0
	for _, turn := range history {
		size += estimateTokens(turnText(turn))
	}
	return int(float64(min(size, limit)) * window)
}

// recentTurns returns the newest turns that fit into the token limit. Consecutive turns of one
// speaker are joined, and a leading reply is dropped: the chat templates of some models reject any
// order but user, assistant, user.
func recentTurns(history []bot.Turn, tokens int) []bot.Turn {
	first := len(history)
	for first > 0 {
		tokens -= estimateTokens(turnText(history[first-1]))
		if tokens < 0 {
			break
		}
		first--
	}
	var turns []bot.Turn
	for _, turn := range history[first:] {
		text := turnText(turn)
		switch last := len(turns) - 1; {
		case text == "" || last < 0 && !turn.IsAsker:
		case last >= 0 && turns[last].IsAsker == turn.IsAsker:
			turns[last].Text += "\n\n" + text
		default:
			turns = append(turns, bot.Turn{IsAsker: turn.IsAsker, Text: text})
		}
	}
	return turns
}

func role(t bot.Turn) string {
	if t.IsAsker {
		return "user"
	}
	return "assistant"
}

// turnText returns a turn's text with the names of its attachments.
func turnText(t bot.Turn) string { return appendNames(strings.TrimSpace(t.Text), t.Attachments) }

// questionContent returns the question with its images. Other attachments are only named.
func questionContent(question bot.Question) any {
	isImage := func(a bot.Attachment) bool { return a.Type == "image" && a.File != "" }
	text := appendNames(question.Text, slices.DeleteFunc(slices.Clone(question.Attachments), isImage))
	var parts []contentPart
	if text != "" {
		parts = append(parts, contentPart{Type: "text", Text: text})
	}
	for _, attachment := range question.Attachments {
		if isImage(attachment) {
			parts = append(parts, contentPart{Type: "image_url", ImageURL: &imageURL{URL: attachment.File}})
		}
	}
	if len(parts) == 1 && parts[0].Type == "text" || len(parts) == 0 {
		return text
	}
	return parts
}

func appendNames(text string, attachments []bot.Attachment) string {
	for _, attachment := range attachments {
		text += fmt.Sprintf("\n[attached: %s %q]", attachment.Type, attachment.Filename)
	}
	return strings.TrimPrefix(text, "\n")
}

// estimateTokens estimates the tokens of a text for any model: one for each Chinese, Japanese or
// Korean character and one for every four other characters.
func estimateTokens(text string) int {
	wide := 0
	for _, r := range text {
		if isWide(r) {
			wide++
		}
	}
	return wide + (utf8.RuneCountInString(text)-wide+3)/4
}

func isWide(r rune) bool {
	return r >= 0x2E80 && r <= 0x9FFF || r >= 0xAC00 && r <= 0xD7AF || r >= 0xF900 && r <= 0xFAFF ||
		r >= 0xFF00 && r <= 0xFFEF || r >= 0x20000 && r <= 0x3FFFF
}
