package llm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"parley/internal/bot"
	"parley/internal/faq"
)

const (
	// maxKnown and knownTokens bound what of the bot's knowledge is put before the model.
	maxKnown    = 6
	knownTokens = 3000
)

// knowledgeHeading tells the model what the entries are for.
const knowledgeHeading = "These entries of the knowledge base may bear on the question, the nearest first. " +
	"Where they answer it, answer from them; where they do not, say that you do not know rather than guess. " +
	"Do not mention the entries or their numbers."

// chatMessage is a message as the model gets it. Content is a string or a list of parts.
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

// requestBody is what is asked of a model server: always a stream, so that a reply can be seen to grow and a silence be
// noticed.
func requestBody(m bot.Model, question bot.Question, known []faq.Match) ([]byte, error) {
	body := map[string]any{}
	for name, value := range m.Parameters {
		body[name] = value
	}
	if m.Temperature != nil {
		body["temperature"] = *m.Temperature
	}
	maps.Copy(body, map[string]any{
		"model":          m.Name,
		"messages":       messagesOf(m, question, known),
		"stream":         true,
		"stream_options": map[string]bool{"include_usage": true},
	})
	return json.Marshal(body)
}

func messagesOf(m bot.Model, question bot.Question, known []faq.Match) []chatMessage {
	var messages []chatMessage
	if system := systemText(question.Bot.Instructions, known); system != "" {
		messages = append(messages, chatMessage{Role: "system", Content: system})
	}
	turns := window(question.History, m.HistoryTokens)
	if last := len(turns) - 1; last >= 0 && turns[last].IsAsker {
		// It had no reply: the asker goes on speaking.
		question.Text = strings.TrimSpace(turns[last].Text + "\n\n" + question.Text)
		turns = turns[:last]
	}
	for _, turn := range turns {
		messages = append(messages, chatMessage{Role: roleOf(turn), Content: turn.Text})
	}
	return append(messages, chatMessage{Role: "user", Content: questionContent(question)})
}

// systemText is the bot's instructions, and what it knows about the question.
func systemText(instructions string, known []faq.Match) string {
	parts := make([]string, 0, 2+len(known))
	if text := strings.TrimSpace(instructions); text != "" {
		parts = append(parts, text)
	}
	if len(known) > 0 {
		parts = append(parts, knowledgeHeading)
	}
	for i, entry := range known {
		parts = append(parts, fmt.Sprintf("%d. %s\n%s", i+1, entry.Question, entry.Answer))
	}
	return strings.Join(parts, "\n\n")
}

// selectKnowledge chooses of the entries found, best first, those that the model gets. One that has no room is left out, but
// not the nearest.
func selectKnowledge(found []faq.Match) (known []faq.Match) {
	room := knownTokens
	for _, entry := range found {
		size := tokensOf(entry.Question) + tokensOf(entry.Answer)
		isWanted := entry.IsAnswer() || entry.IsRelated(found[0])
		if isWanted && len(known) < maxKnown && (size <= room || len(known) == 0) {
			known = append(known, entry)
			room -= size
		}
	}
	return known
}

// window is what of a conversation goes to the model: the newest turns that fit into so many tokens. Turns of the same
// speaker are put together and a reply without its question is left out, because the templates of some models refuse
// any other order than user, assistant, user.
func window(history []bot.Turn, tokens int) []bot.Turn {
	first := len(history)
	for first > 0 {
		tokens -= tokensOf(textOf(history[first-1]))
		if tokens < 0 {
			break
		}
		first--
	}
	var kept []bot.Turn
	for _, turn := range history[first:] {
		said := textOf(turn)
		switch last := len(kept) - 1; {
		case said == "" || last < 0 && !turn.IsAsker:
		case last >= 0 && kept[last].IsAsker == turn.IsAsker:
			kept[last].Text += "\n\n" + said
		default:
			kept = append(kept, bot.Turn{IsAsker: turn.IsAsker, Text: said})
		}
	}
	return kept
}

func roleOf(t bot.Turn) string {
	if t.IsAsker {
		return "user"
	}
	return "assistant"
}

// said is a turn's text and the names of what was attached to it.
func textOf(t bot.Turn) string { return withNames(strings.TrimSpace(t.Text), t.Attachments) }

// questionContent is the question with its pictures; whatever else is attached is named.
func questionContent(question bot.Question) any {
	isImage := func(one bot.Attachment) bool { return one.Type == "image" && one.File != "" }
	text := withNames(question.Text, slices.DeleteFunc(slices.Clone(question.Attachments), isImage))
	var parts []contentPart
	if text != "" {
		parts = append(parts, contentPart{Type: "text", Text: text})
	}
	for _, one := range question.Attachments {
		if isImage(one) {
			parts = append(parts, contentPart{Type: "image_url", ImageURL: &imageURL{URL: one.File}})
		}
	}
	if len(parts) == 1 && parts[0].Type == "text" || len(parts) == 0 {
		return text
	}
	return parts
}

func withNames(text string, attached []bot.Attachment) string {
	for _, one := range attached {
		text += fmt.Sprintf("\n[attached: %s %q]", one.Type, one.Filename)
	}
	return strings.TrimPrefix(text, "\n")
}

// tokensOf estimates how many tokens a text is, without knowing the model: one for each character of Chinese, Japanese
// and Korean, one for each four characters of anything else.
func tokensOf(text string) int {
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
