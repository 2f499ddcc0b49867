package httpapi

import (
	"context"
	"time"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/eventstream"
)

// completionHandlers implements createCompletion.
type completionHandlers struct {
	chat         *chat.Chat
	replyTimeout time.Duration
}

// CreateCompletion implements POST /api/chatbots/{chatbotId}/completions/.
func (h completionHandlers) CreateCompletion(ctx context.Context, request openapi.CreateCompletionRequestObject) (openapi.CreateCompletionResponseObject, error) {
	message := request.Body.Message
	conversation, _ := request.Body.Conversation.Get() // empty if it is absent or null
	sent, err := h.chat.Complete(ctx, auth.PrincipalOf(ctx), request.ChatbotID, conversation, chat.NewMessage{
		Content:        message.Content,
		Attachments:    fromAPIAttachments(message.Attachments),
		ContentPayload: deref(message.ContentPayload),
		QueryMetadata:  deref(message.QueryMetadata),
		ContactID:      message.Sender,
		IdempotencyKey: contract.IdempotencyKey(ctx, request.Params.IdempotencyKey),
	})
	if err != nil {
		return nil, err
	}
	if deref(request.Body.IsStreaming) {
		return completionStream{ctx: ctx, reply: sent.Reply, from: sent.Reply.Start()}, nil
	}
	outcome, err := eventstream.Wait(ctx, sent.Reply, h.replyTimeout)
	if err != nil {
		return nil, err
	}
	return openapi.CreateCompletion200JSONResponse{
		Body: openapi.Completion{
			ConversationID: sent.Reply.ConversationID,
			MessageID:      sent.Reply.MessageID,
			RunID:          sent.Reply.RunID,
			Content:        outcome.Content,
			Done:           true,
			Citations:      toAPICitations(outcome.Answer),
			CitationNodes:  toAPICitationNodes(outcome.Answer),
			Suggestions:    toAPISuggestions(outcome.Answer),
			Usage:          toAPIUsage(outcome.Answer),
			Model:          toAPIModelUsed(outcome.Answer),
			FinishReason:   openapi.FinishReason(outcome.FinishReason),
		},
		Headers: openapi.CreateCompletion200ResponseHeaders{XRunID: &sent.Reply.RunID},
	}, nil
}
