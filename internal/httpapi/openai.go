package httpapi

import (
	"context"
	"errors"
	"time"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/store"
)

// CreateChatCompletion implements POST /v1/chat/completions.
func (a *API) CreateChatCompletion(ctx context.Context, request openapi.CreateChatCompletionRequestObject) (openapi.CreateChatCompletionResponseObject, error) {
	asked, err := a.model(ctx, request.Body.Model, apperr.Violation{In: "body", Pointer: "/model", Detail: "is no model"})
	if err != nil {
		return nil, err
	}
	wanted, err := fromAPIChat(*request.Body)
	if err != nil {
		return nil, err
	}
	if wanted.conversation != "" {
		return a.chatIn(ctx, asked, wanted, request.Params.IdempotencyKey)
	}
	// The request's context ends with the request: nothing goes on for a caller that has left, or was answered.
	reply, err := a.Chat.Consult(ctx, wanted.question(asked))
	if err != nil {
		return nil, err
	}
	return a.tell(ctx, wanted, chatAnswer{reply: reply, model: asked.Slug, created: time.Now()})
}

// chatIn asks in a conversation, which keeps the question and the reply.
func (a *API) chatIn(ctx context.Context, asked db.Bot, wanted chatRequest, key *string) (openapi.CreateChatCompletionResponseObject, error) {
	once := onceFor(ctx, key)
	sent, err := a.Chat.Complete(ctx, auth.PrincipalOf(ctx), asked.ID.String(), wanted.conversation, wanted.message(once))
	if apperr.Is(err, apperr.NotFound) {
		return nil, at(err, apperr.Violation{In: "body", Pointer: "/metadata/conversation_id", Detail: "is no conversation of the model's"})
	}
	if err != nil {
		return nil, err
	}
	answer, err := a.tell(ctx, wanted, chatAnswer{reply: sent.Reply, model: asked.Slug, created: sent.CreatedAt, once: once})
	if err != nil && once == nil {
		callOf(ctx).header.Set("X-Should-Retry", "false") // the question is stored
	}
	return answer, err
}

// tell answers with a reply in the form that is wanted: as it is written, or when it
// has ended.
func (a *API) tell(ctx context.Context, wanted chatRequest, answer chatAnswer) (openapi.CreateChatCompletionResponseObject, error) {
	if wanted.isStreaming {
		return chatStream{replyStream{ctx: ctx, reply: answer.reply, from: answer.reply.Beginning()}, answer, wanted.includesUsage}, nil
	}
	outcome, err := a.wait(ctx, answer.reply)
	if err != nil {
		return nil, err
	}
	if outcome.Err != nil {
		return nil, errors.Join(outcome.Err, a.Chat.Forget(ctx, answer.once, answer.reply.RunID))
	}
	return answer.toAPICompletion(outcome), nil
}

// maxModels is how many models are listed.
const maxModels = 1000

// ListModels implements GET /v1/models.
func (a *API) ListModels(ctx context.Context, _ openapi.ListModelsRequestObject) (openapi.ListModelsResponseObject, error) {
	who := auth.PrincipalOf(ctx)
	rows, err := a.Bots.ListSlugs(ctx, who.OrganizationID, maxModels)
	if err != nil {
		return nil, err
	}
	return openapi.ListModels200JSONResponse{
		Object: openapi.OpenAIModelListObjectList,
		Data: each(rows, func(row db.ListBotSlugsRow) openapi.OpenAIModel {
			return toAPIOpenAIModel(who, row.Slug, row.CreatedAt)
		}),
	}, nil
}

// GetModel implements GET /v1/models/{model}.
func (a *API) GetModel(ctx context.Context, request openapi.GetModelRequestObject) (openapi.GetModelResponseObject, error) {
	found, err := a.model(ctx, request.Model, apperr.Violation{In: "path", Parameter: "model", Detail: "is no model"})
	if err != nil {
		return nil, err
	}
	return openapi.GetModel200JSONResponse(toAPIOpenAIModel(auth.PrincipalOf(ctx), found.Slug, found.CreatedAt)), nil
}

// model is the chatbot that a request names at a place.
func (a *API) model(ctx context.Context, ref string, place apperr.Violation) (db.Bot, error) {
	found, err := a.Bots.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, ref)
	return found, at(apperr.Rephrase(err, apperr.NotFound, noModel), place)
}

const noModel = "There is no such model."

// at says of what is not found where the request names it.
func at(err error, place apperr.Violation) error {
	if told, ok := errors.AsType[*apperr.Error](err); ok && told.Kind == apperr.NotFound {
		return &apperr.Error{Kind: told.Kind, Message: told.Message, Violations: []apperr.Violation{place}, Err: told.Err}
	}
	return err
}

// chatAnswer is what is known of an answer before it is told.
type chatAnswer struct {
	reply   *chat.Reply
	model   string
	created time.Time
	once    *store.IdempotencyKey // under which it was asked; nil: none
}
