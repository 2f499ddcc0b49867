package run

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"parley/gen/db"
	"parley/internal/bot"
	"parley/internal/store"
)

// maxTurns bounds the messages of a conversation that a bot is given.
const maxTurns = 200

// maxTurnBytes bounds the bytes of these messages. The oldest ones are left out.
const maxTurnBytes = 8 << 20

// readQuestion returns what the bot is asked, with the conversation's turns if its engine uses
// them.
func readQuestion(ctx context.Context, s *store.Store, usesHistory bool, work attempt, owner db.Bot) (bot.Question, error) {
	question := bot.Question{Bot: owner, Text: work.question, Selection: bot.SelectionOf(work.queryMetadata)}
	if work.isFirstMessage || !usesHistory {
		return question, nil
	}
	ctx, _ = store.WithByteLimit(ctx, maxTurnBytes)
	rows, err := s.ListTurns(ctx, work.organizationID, work.runID, maxTurns)
	if err != nil {
		return bot.Question{}, fmt.Errorf("read turns: %w", err)
	}
	for _, row := range slices.Backward(rows) {
		attachments, err := decodeAttachments(row.Attachments)
		if err != nil {
			return bot.Question{}, err
		}
		if row.IsQuestion {
			question.Attachments = attachments
			continue
		}
		question.History = append(question.History, bot.Turn{IsAsker: row.Sender == "user", Text: row.Content, Attachments: attachments})
	}
	return question, nil
}

func decodeAttachments(raw json.RawMessage) ([]bot.Attachment, error) {
	if raw == nil {
		return nil, nil
	}
	var stored []struct {
		Type     string `json:"type"`
		Filename string `json:"filename"`
		File     string `json:"file"`
	}
	if err := json.Unmarshal(raw, &stored); err != nil {
		return nil, fmt.Errorf("decode attachments: %w", err)
	}
	attachments := make([]bot.Attachment, len(stored))
	for i, attachment := range stored {
		attachments[i] = bot.Attachment(attachment)
	}
	return attachments, nil
}
