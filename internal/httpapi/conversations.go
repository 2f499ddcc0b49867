package httpapi

import (
	"context"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
)

// StartConversation implements POST /api/conversations/start.
func (a *API) StartConversation(ctx context.Context, request openapi.StartConversationRequestObject) (openapi.StartConversationResponseObject, error) {
	var first *chat.NewMessage
	if text := deref(request.Body.InitialMessage); text != "" {
		first = &chat.NewMessage{Content: text}
	}
	sent, err := a.Chat.Begin(ctx, auth.PrincipalOf(ctx), request.Body.BotID, first, onceFor(ctx, request.Params.IdempotencyKey))
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
func (a *API) SendMessage(ctx context.Context, request openapi.SendMessageRequestObject) (openapi.SendMessageResponseObject, error) {
	sent, err := a.Chat.Send(ctx, auth.PrincipalOf(ctx), request.ID, chat.NewMessage{
		Content:        deref(request.Body.Content),
		Attachments:    fromAPIAttachments(request.Body.Attachments),
		Metadata:       deref(request.Body.Metadata),
		IdempotencyKey: onceFor(ctx, request.Params.IdempotencyKey),
	})
	if err != nil {
		return nil, err
	}
	return openapi.SendMessage201JSONResponse{
		MessageID: sent.MessageID,
		Timestamp: stamp(sent.CreatedAt),
		Status:    openapi.SentMessageStatusDelivered,
		Seq:       sent.Seq,
		RunID:     sent.RunID,
	}, nil
}

// GetHistory implements GET /api/conversations/{id}/history.
func (a *API) GetHistory(ctx context.Context, request openapi.GetHistoryRequestObject) (openapi.GetHistoryResponseObject, error) {
	wanted := chat.Range{BeforeSeq: request.Params.BeforeSeq, AfterSeq: request.Params.AfterSeq, Limit: deref(request.Params.Limit)}
	var err error
	if request.Params.Before != nil {
		if wanted.Before, err = fromAPITime("before", *request.Params.Before); err != nil {
			return nil, err
		}
	}
	if request.Params.After != nil {
		if wanted.After, err = fromAPITime("after", *request.Params.After); err != nil {
			return nil, err
		}
	}
	if a.Shortcuts.History {
		return a.storedHistory(ctx, request.ID, wanted)
	}
	rows, hasMore, err := a.Chat.History(ctx, auth.PrincipalOf(ctx), request.ID, wanted)
	if err != nil {
		return nil, err
	}
	messages, err := eachOrError(rows, toAPIHistoryMessage)
	return openapi.GetHistory200JSONResponse{Messages: messages, HasMore: hasMore}, err
}

// ListConversations implements GET /api/conversations.
func (a *API) ListConversations(ctx context.Context, request openapi.ListConversationsRequestObject) (openapi.ListConversationsResponseObject, error) {
	rows, total, err := a.Chat.List(ctx, auth.PrincipalOf(ctx), chat.Filter{
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
func (a *API) ListInboxConversations(ctx context.Context, request openapi.ListInboxConversationsRequestObject) (openapi.ListInboxConversationsResponseObject, error) {
	page, err := a.Chat.ListInbox(ctx, auth.PrincipalOf(ctx), chat.InboxFilter{
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
	answer.Next, answer.NextCursor = cursorLink(ctx, page.NextCursor)
	answer.Previous, answer.PreviousCursor = cursorLink(ctx, page.PreviousCursor)
	return answer, nil
}

// CreateConversation implements POST /api/conversations/.
func (a *API) CreateConversation(ctx context.Context, request openapi.CreateConversationRequestObject) (openapi.CreateConversationResponseObject, error) {
	key := onceFor(ctx, request.Params.IdempotencyKey)
	made, err := a.Chat.Create(ctx, auth.PrincipalOf(ctx), request.Body.WebChat, request.Body.Contact, key)
	if err != nil {
		return nil, err
	}
	conversation, err := toAPIConversation(made)
	return openapi.CreateConversation201JSONResponse(conversation), err
}

// GetConversation implements GET /api/conversations/{id}/.
func (a *API) GetConversation(ctx context.Context, request openapi.GetConversationRequestObject) (openapi.GetConversationResponseObject, error) {
	found, err := a.Chat.Get(ctx, auth.PrincipalOf(ctx), request.ID)
	if err != nil {
		return nil, err
	}
	conversation, err := toAPIConversation(found)
	return openapi.GetConversation200JSONResponse(conversation), err
}

// UpdateConversation implements PATCH /api/conversations/{id}/.
func (a *API) UpdateConversation(ctx context.Context, request openapi.UpdateConversationRequestObject) (openapi.UpdateConversationResponseObject, error) {
	changed, err := a.Chat.Update(ctx, auth.PrincipalOf(ctx), request.ID, chat.Change{
		Status:    (*string)(request.Body.Status),
		Title:     request.Body.Title,
		AutoReply: request.Body.AutoReplyEnabled,
	})
	if err != nil {
		return nil, err
	}
	conversation, err := toAPIConversation(changed)
	return openapi.UpdateConversation200JSONResponse(conversation), err
}

// DeleteConversation implements DELETE /api/conversations/{id}/.
func (a *API) DeleteConversation(ctx context.Context, request openapi.DeleteConversationRequestObject) (openapi.DeleteConversationResponseObject, error) {
	err := a.Chat.Delete(ctx, auth.PrincipalOf(ctx), request.ID)
	return openapi.DeleteConversation204Response{}, err
}
