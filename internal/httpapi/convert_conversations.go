package httpapi

import (
	"encoding/json"
	"fmt"

	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/bot"
	"parley/internal/chat"
	"parley/internal/httpapi/contract"
	"parley/internal/jsontext"
)

func toAPIMessage(row db.Message) (openapi.Message, error) {
	attachments, err := list[openapi.Attachment](row.Attachments)
	if err != nil {
		return openapi.Message{}, err
	}
	citations, err := list[openapi.Citation](row.Citations)
	if err != nil {
		return openapi.Message{}, err
	}
	nodes, err := list[openapi.CitationNode](row.CitationNodes)
	if err != nil {
		return openapi.Message{}, err
	}
	canvas := nullable.NewNullNullable[openapi.Canvas]()
	if row.Canvas != nil {
		var stored openapi.Canvas
		if err := json.Unmarshal(row.Canvas, &stored); err != nil {
			return openapi.Message{}, fmt.Errorf("decode a stored canvas: %w", err)
		}
		canvas.Set(stored)
	}
	message := openapi.Message{
		ID:             row.ID,
		Conversation:   row.SessionID,
		Seq:            row.Seq,
		RunID:          orNull(row.RunID),
		Type:           openapi.MessageTypeOutgoing,
		Sender:         nullable.NewNullNullable[openapi.Sender](),
		Content:        row.Content,
		ContentPayload: rawOrNull(row.ContentPayload),
		QueryMetadata:  rawOrNull(row.QueryMetadata),
		Canvas:         canvas,
		Feedback:       nullable.NewNullNullable[openapi.Feedback](),
		Attachments:    attachments,
		Citations:      citations,
		CitationNodes:  nodes,
		CreatedAt:      jsontext.FormatTime(row.CreatedAt),
	}
	if row.Sender == "user" {
		message.Type = openapi.MessageTypeIncoming
	}
	if row.SenderID != nil && row.SenderName != "" {
		message.Sender.Set(openapi.Sender{ID: *row.SenderID, Name: row.SenderName, Avatar: textOrNull(row.SenderAvatar)})
	}
	if row.Feedback != nil {
		message.Feedback.Set(openapi.Feedback(*row.Feedback))
	}
	return message, nil
}

func toAPIConversation(row chat.Conversation) (openapi.Conversation, error) {
	session := row.Session
	conversation := openapi.Conversation{
		ID: session.ID,
		Contact: openapi.ConversationContact{
			ID:        row.Contact.ID,
			Name:      row.Contact.Name,
			Avatar:    textOrNull(row.Contact.Avatar),
			CreatedAt: jsontext.FormatTime(row.Contact.CreatedAt),
		},
		Inbox: openapi.ConversationInbox{
			ID:                       session.InboxID,
			Name:                     row.InboxName,
			ChannelType:              openapi.ChannelType(row.ChannelType),
			UnreadConversationsCount: row.InboxUnread,
		},
		Chatbot:              openapi.ChatbotReference{ID: session.BotID, Name: row.BotName},
		Title:                session.Title,
		Status:               openapi.ConversationStatus(session.Status),
		LastMessage:          nullable.NewNullNullable[openapi.LastMessage](),
		LastMessageCreatedAt: nullable.NewNullNullable[string](),
		UnreadMessagesCount:  int(session.StaffUnread),
		AutoReplyEnabled:     session.AutoReply,
		IsAutoReplyNow:       session.AutoReply,
		LastReadAt:           timeOrNull(session.LastReadAt),
		CreatedAt:            jsontext.FormatTime(session.CreatedAt),
	}
	if row.LastMessage != nil {
		last, err := toAPIMessage(*row.LastMessage)
		if err != nil {
			return openapi.Conversation{}, err
		}
		conversation.LastMessage.Set(openapi.LastMessage(last))
		conversation.LastMessageCreatedAt.Set(last.CreatedAt)
	}
	return conversation, nil
}

func toAPIConversationSummary(row db.ListConversationsRow) openapi.ConversationSummary {
	return openapi.ConversationSummary{
		ID:           row.ID,
		BotID:        row.BotID,
		BotName:      row.BotName,
		Title:        row.Title,
		LastMessage:  row.LastMessage,
		LastActivity: jsontext.FormatTime(row.LastActivity),
		Status:       openapi.ConversationStatus(row.Status),
		Unread:       int(row.UserUnread),
	}
}

// toAPIOperationResults returns the result of each operation of a batch, in order.
func toAPIOperationResults(operations []openapi.ConversationOperation, outcomes chat.Outcomes) []openapi.ConversationOperationResult {
	results := make([]openapi.ConversationOperationResult, len(operations))
	for i, operation := range operations {
		results[i] = openapi.ConversationOperationResult{
			ConversationID: operation.ConversationID,
			Action:         operation.Action,
			Ok:             outcomes.Refused[i] == nil,
		}
		if appErr := outcomes.Refused[i]; appErr != nil {
			results[i].Problem = new(contract.ProblemOf(appErr, outcomes.RequestID))
		}
	}
	return results
}

func toAPIRun(row db.Run) openapi.Run {
	run := openapi.Run{
		ID:           row.ID,
		Conversation: row.SessionID,
		QuestionID:   row.QuestionID,
		MessageID:    row.ReplyID,
		State:        openapi.RunState(row.State),
		Attempt:      int(row.Attempt),
		FinishReason: nullable.NewNullNullable[openapi.RunFinishReason](),
		Error:        nullable.NewNullNullable[openapi.RunError](),
		CreatedAt:    jsontext.FormatTime(row.CreatedAt),
		StartedAt:    timeOrNull(row.StartedAt),
		FirstTokenAt: timeOrNull(row.FirstTokenAt),
		FinishedAt:   timeOrNull(row.FinishedAt),
		Model:        orNull(row.Model),
		Usage:        toAPIStoredUsage(row.PromptTokens, row.CompletionTokens, row.CachedTokens, row.ReasoningTokens),
	}
	if row.FinishReason != nil {
		run.FinishReason.Set(openapi.RunFinishReason(*row.FinishReason))
	}
	if row.Error != nil {
		run.Error.Set(openapi.RunError{Error: openapi.ProblemCode(*row.Error), Detail: deref(row.Detail)})
	}
	return run
}

func toAPICitations(answer bot.Answer) []openapi.Citation {
	return each(answer.Citations, func(citation bot.Citation) openapi.Citation {
		return openapi.Citation{ID: citation.ID, Filename: citation.Filename, File: orNull(citation.File), Question: orAbsent(citation.Question)}
	})
}

func toAPICitationNodes(answer bot.Answer) []openapi.CitationNode {
	return each(answer.Nodes, func(node bot.CitationNode) openapi.CitationNode {
		return openapi.CitationNode{
			ChatbotTextNode: openapi.ChatbotTextNode{ID: node.ChatbotTextNode.ID, Text: node.ChatbotTextNode.Text, Filename: node.ChatbotTextNode.Filename},
			Score:           node.Score,
			DisplayScore:    node.DisplayScore,
		}
	})
}

func toAPISuggestions(answer bot.Answer) []openapi.Suggestion {
	return each(answer.Suggestions, func(suggestion bot.Suggestion) openapi.Suggestion {
		return openapi.Suggestion{Text: suggestion.Text, Context: orAbsent(suggestion.Context)}
	})
}

// orAbsent omits an optional field that is empty.
func orAbsent(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func toAPIUsage(answer bot.Answer) nullable.Nullable[openapi.Usage] {
	if answer.PromptTokens == nil || answer.CompletionTokens == nil {
		return nullable.NewNullNullable[openapi.Usage]()
	}
	return nullable.NewNullableWithValue(openapi.Usage{
		PromptTokens:     *answer.PromptTokens,
		CompletionTokens: *answer.CompletionTokens,
		TotalTokens:      *answer.PromptTokens + *answer.CompletionTokens,
		CachedTokens:     answer.CachedTokens,
		ReasoningTokens:  answer.ReasoningTokens,
	})
}

func toAPIModelUsed(answer bot.Answer) nullable.Nullable[openapi.ModelUsed] {
	if answer.Model == "" {
		return nullable.NewNullNullable[openapi.ModelUsed]()
	}
	return nullable.NewNullableWithValue(answer.Model)
}

// toAPIStoredUsage returns the usage of a run's or a record's columns.
func toAPIStoredUsage(prompt, completion, cached, reasoning *int32) nullable.Nullable[openapi.Usage] {
	return toAPIUsage(bot.Answer{
		PromptTokens: toInt(prompt), CompletionTokens: toInt(completion), CachedTokens: toInt(cached), ReasoningTokens: toInt(reasoning),
	})
}

func toInt(n *int32) *int {
	if n == nil {
		return nil
	}
	return new(int(*n))
}

func fromAPIAttachments(inputs *[]openapi.AttachmentInput) []chat.NewAttachment {
	return each(deref(inputs), func(input openapi.AttachmentInput) chat.NewAttachment {
		return chat.NewAttachment{ID: deref(input.ID), Type: string(deref(input.Type)), Filename: deref(input.Filename), File: deref(input.File)}
	})
}

// fromAPICanvas returns a canvas as it is stored, or nil if it is absent or null.
func fromAPICanvas(field nullable.Nullable[openapi.Canvas]) (json.RawMessage, error) {
	canvas, err := field.Get()
	if err != nil {
		return nil, nil //nolint:nilerr // absent or null
	}
	return json.Marshal(canvas)
}
