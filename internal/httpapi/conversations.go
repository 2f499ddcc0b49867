package httpapi

import (
	"context"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/paging"
	"parley/internal/jsontext"
)

// conversationHandlers implements the operations of conversations.
type conversationHandlers struct{ chat *chat.Chat }

// StartConversation implements POST /api/conversations/start.
func (h conversationHandlers) StartConversation(ctx context.Context, request openapi.StartConversationRequestObject) (openapi.StartConversationResponseObject, error) {
	var first *chat.NewMessage
	if text := deref(request.Body.InitialMessage); text != "" {
		first = &chat.NewMessage{Content: text}
	}
	sent, err := h.chat.Begin(ctx, auth.PrincipalOf(ctx), request.Body.BotID, first, contract.IdempotencyKey(ctx, request.Params.IdempotencyKey))
	if err != nil {
		return nil, err
	}
	started := openapi.StartConversation201JSONResponse{
		ConversationID: sent.ConversationID,
		SessionID:      sent.ConversationID,
		Status:         openapi.ConversationStatusActive,
		RunID:          sent.RunID,
	}
	if first != nil {
		started.MessageID = &sent.MessageID
	}
	return started, nil
}

// SendMessage implements POST /api/conversations/{id}/messages.
func (h conversationHandlers) SendMessage(ctx context.Context, request openapi.SendMessageRequestObject) (openapi.SendMessageResponseObject, error) {
	sent, err := h.chat.Send(ctx, auth.PrincipalOf(ctx), request.ID, chat.NewMessage{
		Content:        deref(request.Body.Content),
		Attachments:    fromAPIAttachments(request.Body.Attachments),
		Metadata:       deref(request.Body.Metadata),
		IdempotencyKey: contract.IdempotencyKey(ctx, request.Params.IdempotencyKey),
	})
	if err != nil {
		return nil, err
	}
	return openapi.SendMessage201JSONResponse{
		MessageID: sent.MessageID,
		Timestamp: jsontext.FormatTime(sent.CreatedAt),
		Status:    openapi.SentMessageStatusDelivered,
		Seq:       sent.Seq,
		RunID:     sent.RunID,
	}, nil
}

// GetHistory implements GET /api/conversations/{id}/history.
func (h conversationHandlers) GetHistory(ctx context.Context, request openapi.GetHistoryRequestObject) (openapi.GetHistoryResponseObject, error) {
	params := request.Params
	before, err := fromAPITime("before", params.Before)
	if err != nil {
		return nil, err
	}
	after, err := fromAPITime("after", params.After)
	if err != nil {
		return nil, err
	}
	messages := chat.Range{Before: before, After: after, BeforeSeq: params.BeforeSeq, AfterSeq: params.AfterSeq, Limit: deref(params.Limit)}
	page := newHistoryPage()
	page.isForward, page.hasMore, err = h.chat.StoredHistory(ctx, auth.PrincipalOf(ctx), request.ID, messages, page.add)
	if err != nil {
		historyPages.Put(page)
		return nil, err
	}
	return page, nil
}

// ListConversations implements GET /api/conversations.
func (h conversationHandlers) ListConversations(ctx context.Context, request openapi.ListConversationsRequestObject) (openapi.ListConversationsResponseObject, error) {
	rows, total, err := h.chat.List(ctx, auth.PrincipalOf(ctx), chat.Filter{
		BotRef: request.Params.BotID,
		Status: (*string)(request.Params.Status),
		Limit:  deref(request.Params.Limit),
		Offset: deref(request.Params.Offset),
	})
	if err != nil {
		return nil, err
	}
	return openapi.ListConversations200JSONResponse{Conversations: each(rows, toAPIConversationSummary), Total: total}, nil
}

// ListInboxConversations implements GET /api/conversations/.
func (h conversationHandlers) ListInboxConversations(ctx context.Context, request openapi.ListInboxConversationsRequestObject) (openapi.ListInboxConversationsResponseObject, error) {
	page, err := h.chat.ListInbox(ctx, auth.PrincipalOf(ctx), chat.InboxFilter{
		InboxID:    request.Params.Inbox,
		Keyword:    request.Params.Keyword,
		ByCreation: deref(request.Params.Ordering) == openapi.ListInboxConversationsParamsOrderingCreatedAt,
		Cursor:     deref(request.Params.Cursor),
		Limit:      deref(request.Params.PageSize),
	})
	if err != nil {
		return nil, err
	}
	results, err := eachOrError(page.Conversations, toAPIConversation)
	if err != nil {
		return nil, err
	}
	answer := openapi.ListInboxConversations200JSONResponse{Results: results}
	answer.Next, answer.NextCursor = paging.CursorLink(ctx, page.NextCursor)
	answer.Previous, answer.PreviousCursor = paging.CursorLink(ctx, page.PreviousCursor)
	return answer, nil
}

// CreateConversation implements POST /api/conversations/.
func (h conversationHandlers) CreateConversation(ctx context.Context, request openapi.CreateConversationRequestObject) (openapi.CreateConversationResponseObject, error) {
	key := contract.IdempotencyKey(ctx, request.Params.IdempotencyKey)
	created, err := h.chat.Create(ctx, auth.PrincipalOf(ctx), request.Body.WebChat, request.Body.Contact, key)
	if err != nil {
		return nil, err
	}
	conversation, err := toAPIConversation(created)
	return openapi.CreateConversation201JSONResponse(conversation), err
}

// GetConversation implements GET /api/conversations/{id}/.
func (h conversationHandlers) GetConversation(ctx context.Context, request openapi.GetConversationRequestObject) (openapi.GetConversationResponseObject, error) {
	found, err := h.chat.Get(ctx, auth.PrincipalOf(ctx), request.ID)
	if err != nil {
		return nil, err
	}
	conversation, err := toAPIConversation(found)
	return openapi.GetConversation200JSONResponse(conversation), err
}

// UpdateConversation implements PATCH /api/conversations/{id}/.
func (h conversationHandlers) UpdateConversation(ctx context.Context, request openapi.UpdateConversationRequestObject) (openapi.UpdateConversationResponseObject, error) {
	updated, err := h.chat.Update(ctx, auth.PrincipalOf(ctx), request.ID, chat.Change{
		Status:    (*string)(request.Body.Status),
		Title:     request.Body.Title,
		AutoReply: request.Body.AutoReplyEnabled,
	})
	if err != nil {
		return nil, err
	}
	conversation, err := toAPIConversation(updated)
	return openapi.UpdateConversation200JSONResponse(conversation), err
}

// DeleteConversation implements DELETE /api/conversations/{id}/.
func (h conversationHandlers) DeleteConversation(ctx context.Context, request openapi.DeleteConversationRequestObject) (openapi.DeleteConversationResponseObject, error) {
	err := h.chat.Delete(ctx, auth.PrincipalOf(ctx), request.ID)
	return openapi.DeleteConversation204Response{}, err
}

// BatchConversations implements POST /api/conversations/batch.
func (h conversationHandlers) BatchConversations(ctx context.Context, request openapi.BatchConversationsRequestObject) (openapi.BatchConversationsResponseObject, error) {
	operations := each(request.Body.Operations, func(operation openapi.ConversationOperation) chat.Operation {
		return chat.Operation{Action: string(operation.Action), ConversationID: operation.ConversationID}
	})
	key := contract.IdempotencyKey(ctx, request.Params.IdempotencyKey)
	outcomes, err := h.chat.Batch(ctx, auth.PrincipalOf(ctx), contract.RequestOf(ctx).ID, operations, key)
	if err != nil {
		return nil, err
	}
	return openapi.BatchConversations200JSONResponse{Results: toAPIOperationResults(request.Body.Operations, outcomes)}, nil
}
