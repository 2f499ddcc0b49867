package httpapi

import (
	"encoding/json"
	"fmt"

	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/bot"
	"parley/internal/chat"
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
			return openapi.Message{}, fmt.Errorf("read a stored canvas: %w", err)
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
		CreatedAt:      stamp(row.CreatedAt),
	}
	if row.Sender == "user" {
		message.Type = openapi.MessageTypeIncoming
	}
	if row.SenderID != nil && row.SenderName != "" {
		message.Sender.Set(openapi.Sender{ID: *row.SenderID, Name: row.SenderName, Avatar: row.SenderAvatar})
	}
	if row.Feedback != nil {
		message.Feedback.Set(openapi.Feedback(*row.Feedback))
	}
	return message, nil
}

func toAPIHistoryMessage(row db.ListHistoryBackwardRow) (openapi.HistoryMessage, error) {
	attachments, err := list[openapi.Attachment](row.Attachments)
	metadata := row.Metadata
	if metadata == nil {
		metadata = json.RawMessage("{}")
	}
	return openapi.HistoryMessage{
		ID:          row.ID,
		Seq:         row.Seq,
		Sender:      openapi.Speaker(row.Sender),
		Content:     row.Content,
		Timestamp:   stamp(row.CreatedAt),
		Attachments: attachments,
		Metadata:    metadata,
	}, err
}

func toAPIConversation(row chat.Conversation) (openapi.Conversation, error) {
	session := row.Session
	conversation := openapi.Conversation{
		ID: session.ID,
		Contact: openapi.ConversationContact{
			ID:        row.Contact.ID,
			Name:      row.Contact.Name,
			Avatar:    row.Contact.Avatar,
			CreatedAt: stamp(row.Contact.CreatedAt),
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
		LastReadAt:           stampOrNull(session.LastReadAt),
		CreatedAt:            stamp(session.CreatedAt),
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
		LastActivity: stamp(row.LastActivity),
		Status:       openapi.ConversationStatus(row.Status),
		Unread:       int(row.UserUnread),
	}
}

// toAPIOperationResults says what became of each operation of a batch.
func toAPIOperationResults(operations []openapi.ConversationOperation, outcomes chat.Outcomes) []openapi.ConversationOperationResult {
	results := make([]openapi.ConversationOperationResult, len(operations))
	for i, operation := range operations {
		results[i] = openapi.ConversationOperationResult{
			ConversationID: operation.ConversationID,
			Action:         operation.Action,
			Ok:             outcomes.Refused[i] == nil,
		}
		if refused := outcomes.Refused[i]; refused != nil {
			results[i].Problem = new(problemOf(refused, outcomes.RequestID))
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
		CreatedAt:    stamp(row.CreatedAt),
		StartedAt:    stampOrNull(row.StartedAt),
		FirstTokenAt: stampOrNull(row.FirstTokenAt),
		FinishedAt:   stampOrNull(row.FinishedAt),
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
	citations := make([]openapi.Citation, len(answer.Citations))
	for i, one := range answer.Citations {
		citations[i] = openapi.Citation{ID: one.ID, Filename: one.Filename, File: orNull(one.File)}
		if one.Question != "" {
			citations[i].Question = &one.Question
		}
	}
	return citations
}

func toAPICitationNodes(answer bot.Answer) []openapi.CitationNode {
	nodes := make([]openapi.CitationNode, len(answer.Nodes))
	for i, one := range answer.Nodes {
		nodes[i] = openapi.CitationNode{
			ChatbotTextNode: openapi.ChatbotTextNode{ID: one.ChatbotTextNode.ID, Text: one.ChatbotTextNode.Text, Filename: one.ChatbotTextNode.Filename},
			Score:           one.Score,
			DisplayScore:    one.DisplayScore,
		}
	}
	return nodes
}

func toAPISuggestions(answer bot.Answer) []openapi.Suggestion {
	suggestions := make([]openapi.Suggestion, len(answer.Suggestions))
	for i, one := range answer.Suggestions {
		suggestions[i] = openapi.Suggestion{Text: one.Text}
		if one.Context != "" {
			suggestions[i].Context = &one.Context
		}
	}
	return suggestions
}

func toAPIUsage(answer bot.Answer) nullable.Nullable[openapi.Usage] {
	if answer.PromptTokens == nil || answer.CompletionTokens == nil {
		return nullable.NewNullNullable[openapi.Usage]()
	}
	return nullable.NewNullableWithValue(openapi.Usage{
		PromptTokens:     *answer.PromptTokens,
		CompletionTokens: *answer.CompletionTokens,
		TotalTokens:      *answer.PromptTokens + *answer.CompletionTokens,
	})
}

func fromAPIAttachments(inputs *[]openapi.AttachmentInput) []chat.NewAttachment {
	attachments := make([]chat.NewAttachment, 0, len(deref(inputs)))
	for _, one := range deref(inputs) {
		attachments = append(attachments, chat.NewAttachment{
			ID:       deref(one.ID),
			Type:     string(deref(one.Type)),
			Filename: deref(one.Filename),
			File:     deref(one.File),
		})
	}
	return attachments
}

// fromAPICanvas is a canvas as it is stored; nil for none.
func fromAPICanvas(canvas nullable.Nullable[openapi.Canvas]) (json.RawMessage, error) {
	if !canvas.IsSpecified() || canvas.IsNull() {
		return nil, nil
	}
	return json.Marshal(canvas.MustGet())
}
