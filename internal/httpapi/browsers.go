package httpapi

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/oapi-codegen/nullable"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
)

// CreateClientToken implements POST /api/client-tokens/. The one scope that can be asked
// for is what every caller has who may ask.
func (a *API) CreateClientToken(ctx context.Context, request openapi.CreateClientTokenRequestObject) (openapi.CreateClientTokenResponseObject, error) {
	who := auth.PrincipalOf(ctx)
	lifetime := time.Duration(deref(request.Body.ExpiresIn)) * time.Second
	target := chat.Target{Conversation: request.Body.Conversation, BotRef: request.Body.Chatbot, Contact: request.Body.Contact}
	made, err := a.Auth.CreateToken(ctx, who, lifetime, deref(request.Body.Origin), onceFor(ctx, request.Params.IdempotencyKey), a.Chat.ForToken(who, target))
	if err != nil {
		return nil, err
	}
	answer := openapi.CreateClientToken201JSONResponse{
		Token:        made.Secret,
		ExpiresAt:    stamp(made.ExpiresAt),
		Scopes:       toAPIScopes(made.Scopes),
		Conversation: toAPIIDOrNull(made.Subject.Bounds.Conversation),
		Contact:      made.Subject.Bounds.Contact,
		Chatbot:      toAPIIDOrNull(made.Subject.Bounds.Bot),
		Origin:       nullable.NewNullNullable[string](),
	}
	if made.Origin != "" {
		answer.Origin.Set(made.Origin)
	}
	return answer, nil
}

// CreateWsTicket implements POST /api/ws-tickets/.
func (a *API) CreateWsTicket(ctx context.Context, request openapi.CreateWsTicketRequestObject) (openapi.CreateWsTicketResponseObject, error) {
	who := auth.PrincipalOf(ctx)
	target := chat.Target{Conversation: request.Body.Conversation, BotRef: request.Body.Chatbot}
	made, err := a.Auth.CreateTicket(ctx, who, onceFor(ctx, request.Params.IdempotencyKey), a.Chat.ForTicket(who, target))
	if err != nil {
		return nil, err
	}
	return openapi.CreateWsTicket201JSONResponse{Ticket: made.Secret, ExpiresAt: stamp(made.ExpiresAt)}, nil
}

func toAPIIDOrNull(id uuid.UUID) nullable.Nullable[uuid.UUID] {
	if id == uuid.Nil {
		return nullable.NewNullNullable[uuid.UUID]()
	}
	return nullable.NewNullableWithValue(id)
}
