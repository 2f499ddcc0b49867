// Package openai serves OpenAI's chat completions API below /v1. The models are the chatbots of the
// organization. A completion whose metadata names a conversation is stored in it; any other one is
// stateless.
package openai

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/chat"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/eventstream"
	"parley/internal/reply"
	"parley/internal/run"
	"parley/internal/store"
)

// Handlers implements the operations of OpenAI's API.
type Handlers struct {
	Bots *bot.Bots
	Chat *chat.Chat
	Runs *run.Dispatcher
	// ReplyTimeout is how long a completion without streaming waits for its reply.
	ReplyTimeout time.Duration
}

// completion is the data of a completion that is known before its reply.
type completion struct {
	id      string
	reply   *reply.Reply // nil for a request that is passed on
	model   string
	created time.Time
}

// newCompletion returns a completion that is not a reply to a stored message.
func newCompletion(model db.Bot) completion {
	return completion{id: "chatcmpl-" + store.NewID().String(), model: model.Slug, created: time.Now()}
}

func completionOf(r *reply.Reply, model db.Bot, created time.Time) completion {
	return completion{id: "chatcmpl-" + r.RunID.String(), reply: r, model: model.Slug, created: created}
}

// CreateChatCompletion implements POST /v1/chat/completions.
func (h Handlers) CreateChatCompletion(ctx context.Context, request openapi.CreateChatCompletionRequestObject) (openapi.CreateChatCompletionResponseObject, error) {
	model, err := h.model(ctx, request.Body.Model, apperr.Violation{In: "body", Pointer: "/model", Detail: "is not a model"})
	if err != nil {
		return nil, err
	}
	return h.complete(ctx, model, request)
}

func (h Handlers) complete(ctx context.Context, model db.Bot, request openapi.CreateChatCompletionRequestObject) (openapi.CreateChatCompletionResponseObject, error) {
	var parsed chatRequest
	var err error
	if parsed.readOptions(*request.Body) == nil && parsed.conversation == "" && h.Bots.IsRelay(model) {
		if err := checkAsk(ctx, model); err != nil {
			return nil, err
		}
		parsed.text = lastQuestion(request.Body.Messages)
		return h.createRelayed(ctx, model, parsed)
	}
	if err := checkParameters(contract.RequestOf(ctx).Body); err != nil {
		return nil, err
	}
	if parsed, err = fromAPIChat(*request.Body); err != nil {
		return nil, err
	}
	if parsed.conversation != "" {
		return h.completeIn(ctx, model, parsed, request.Params.IdempotencyKey)
	}
	if err := checkAsk(ctx, model); err != nil {
		return nil, err
	}
	// The context of the request cancels the reply if the client disconnects.
	reply, err := h.Runs.CompleteStateless(ctx, auth.PrincipalOf(ctx).KeyID, parsed.question(model))
	if err != nil {
		return nil, err
	}
	return h.respond(ctx, parsed, completionOf(reply, model, time.Now()))
}

// completeIn stores the question and the reply in a conversation.
func (h Handlers) completeIn(ctx context.Context, model db.Bot, parsed chatRequest, key *string) (openapi.CreateChatCompletionResponseObject, error) {
	idempotencyKey := contract.IdempotencyKey(ctx, key)
	sent, err := h.Chat.Complete(ctx, auth.PrincipalOf(ctx), model.ID.String(), parsed.conversation, parsed.message(idempotencyKey))
	if apperr.Is(err, apperr.NotFound) {
		return nil, locate(err, apperr.Violation{In: "body", Pointer: "/metadata/conversation_id", Detail: "is not a conversation with this model"})
	}
	if err != nil {
		return nil, err
	}
	response, err := h.respond(ctx, parsed, completionOf(sent.Reply, model, sent.CreatedAt))
	if err != nil && idempotencyKey == nil {
		// The question is stored. Without a key, a retry would store it again.
		contract.RequestOf(ctx).Header.Set("X-Should-Retry", "false")
	}
	return response, err
}

// respond streams the reply, or waits for its end.
func (h Handlers) respond(ctx context.Context, parsed chatRequest, c completion) (openapi.CreateChatCompletionResponseObject, error) {
	if parsed.isStreaming {
		if err := eventstream.Hold(ctx, c.reply, maxHold); err != nil {
			return nil, err
		}
		return chatStream{ctx: ctx, completion: c, includesUsage: parsed.includesUsage}, nil
	}
	outcome, err := eventstream.Wait(ctx, c.reply, h.ReplyTimeout)
	if err != nil {
		return nil, err
	}
	return c.toAPICompletion(outcome), nil
}

// checkAsk returns an error if the caller's token does not permit a completion without a conversation.
// The rule is the same as for creating a conversation.
func checkAsk(ctx context.Context, model db.Bot) error {
	bounds := auth.PrincipalOf(ctx).Bounds
	if bounds.Conversation != uuid.Nil || !bounds.AllowsBot(model.ID) {
		return apperr.New(apperr.Forbidden, "The token is restricted to another chatbot or to a conversation.")
	}
	return nil
}

// maxModels is the number of models that are listed.
const maxModels = 1000

// ListModels implements GET /v1/models.
func (h Handlers) ListModels(ctx context.Context, _ openapi.ListModelsRequestObject) (openapi.ListModelsResponseObject, error) {
	principal := auth.PrincipalOf(ctx)
	rows, err := h.Bots.ListSlugs(ctx, principal.OrganizationID, maxModels)
	if err != nil {
		return nil, err
	}
	models := make([]openapi.OpenAIModel, len(rows))
	for i, row := range rows {
		models[i] = toAPIModel(principal, row.Slug, row.CreatedAt)
	}
	return openapi.ListModels200JSONResponse{Object: openapi.OpenAIModelListObjectList, Data: models}, nil
}

// GetModel implements GET /v1/models/{model}.
func (h Handlers) GetModel(ctx context.Context, request openapi.GetModelRequestObject) (openapi.GetModelResponseObject, error) {
	model, err := h.model(ctx, request.Model, apperr.Violation{In: "path", Parameter: "model", Detail: "is not a model"})
	if err != nil {
		return nil, err
	}
	return openapi.GetModel200JSONResponse(toAPIModel(auth.PrincipalOf(ctx), model.Slug, model.CreatedAt)), nil
}

// model returns the chatbot that a request names, or a NotFound error with a pointer to the name.
func (h Handlers) model(ctx context.Context, ref string, place apperr.Violation) (db.Bot, error) {
	model, err := h.Bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, ref)
	return model, locate(apperr.Rephrase(err, apperr.NotFound, "There is no such model."), place)
}

// locate adds a pointer to the missing resource to a NotFound error.
func locate(err error, place apperr.Violation) error {
	if appErr, ok := errors.AsType[*apperr.Error](err); ok && appErr.Kind == apperr.NotFound {
		return &apperr.Error{Kind: appErr.Kind, Message: appErr.Message, Violations: []apperr.Violation{place}, Err: appErr.Err}
	}
	return err
}
