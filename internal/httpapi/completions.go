package httpapi

import (
	"context"
	"errors"
	"fmt"

	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/chat"
)

// CreateCompletion implements POST /api/chatbots/{chatbotId}/completions/.
func (a *API) CreateCompletion(ctx context.Context, request openapi.CreateCompletionRequestObject) (openapi.CreateCompletionResponseObject, error) {
	who := auth.PrincipalOf(ctx)
	message := request.Body.Message
	key := onceFor(ctx, request.Params.IdempotencyKey)
	conversation, _ := request.Body.Conversation.Get() // absent and null are both none
	sent, err := a.Chat.Complete(ctx, who, request.ChatbotID, conversation, chat.NewMessage{
		Content:        message.Content,
		Attachments:    fromAPIAttachments(message.Attachments),
		ContentPayload: deref(message.ContentPayload),
		QueryMetadata:  deref(message.QueryMetadata),
		ContactID:      message.Sender,
		IdempotencyKey: key,
	})
	if err != nil {
		return nil, err
	}
	if deref(request.Body.IsStreaming) {
		return replyStream{ctx: ctx, reply: sent.Reply, from: sent.Reply.Beginning()}, nil
	}
	outcome, err := a.wait(ctx, sent.Reply)
	if err != nil {
		return nil, err
	}
	if outcome.Err != nil {
		return nil, errors.Join(outcome.Err, a.Chat.Forget(ctx, key, sent.Reply.RunID))
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
			FinishReason:   openapi.FinishReason(outcome.FinishReason),
		},
		Headers: openapi.CreateCompletion200ResponseHeaders{XRunID: &sent.Reply.RunID},
	}, nil
}

// wait waits for the reply's end, for as long as a caller is made to.
func (a *API) wait(ctx context.Context, reply *chat.Reply) (*chat.Outcome, error) {
	late := fmt.Sprintf("The reply takes longer than %g seconds.", a.Patience.Seconds())
	if reply.IsKept() {
		late += fmt.Sprintf(" It goes on as the run %s.", reply.RunID)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.Patience, apperr.New(apperr.Timeout, late))
	defer cancel()
	for at := reply.Beginning(); ; {
		_, after, _, outcome, err := a.Chat.Follow(ctx, reply, at, a.Patience)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil || outcome != nil {
			return outcome, err
		}
		at = after
	}
}
