package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"parley/gen/db"
	"parley/internal/bot"
)

// maxTurns bounds how many messages of a conversation a bot is told of.
const maxTurns = 200

// question is what the bot is asked, with as much of the conversation as its engine wants to know.
func (c *Chat) question(ctx context.Context, work task, asked db.Bot) (bot.Question, error) {
	question := bot.Question{Bot: asked, Text: work.question, Selection: selectionOf(work.queryMetadata)}
	if work.isAlone || !c.bots.UsesHistory(asked) {
		return question, nil
	}
	rows, err := c.store.ListTurns(ctx, work.organizationID, work.runID, maxTurns)
	if err != nil {
		return bot.Question{}, fmt.Errorf("read the conversation's turns: %w", err)
	}
	for _, row := range slices.Backward(rows) {
		attached, err := toBotAttachments(row.Attachments)
		if err != nil {
			return bot.Question{}, err
		}
		if row.IsQuestion {
			question.Attachments = attached
			continue
		}
		question.History = append(question.History, bot.Turn{IsAsker: row.Sender == byUser, Text: row.Content, Attachments: attached})
	}
	return question, nil
}

func toBotAttachments(raw json.RawMessage) ([]bot.Attachment, error) {
	if raw == nil {
		return nil, nil
	}
	var stored []Attachment
	if err := json.Unmarshal(raw, &stored); err != nil {
		return nil, fmt.Errorf("read a message's attachments: %w", err)
	}
	attached := make([]bot.Attachment, len(stored))
	for i, one := range stored {
		attached[i] = bot.Attachment{Type: one.Type, Filename: one.Filename, File: one.File}
	}
	return attached, nil
}
