package httpapi

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/oapi-codegen/nullable"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/httpapi/contract"
	"parley/internal/jsontext"
)

// tokenHandlers implements the operations that give browsers access.
type tokenHandlers struct {
	auth *auth.Auth
	chat *chat.Chat
}

// CreateClientToken implements POST /api/client-tokens/. It ignores the requested scopes: the only
// one that validation accepts is the one that every token has.
func (h tokenHandlers) CreateClientToken(ctx context.Context, request openapi.CreateClientTokenRequestObject) (openapi.CreateClientTokenResponseObject, error) {
	principal := auth.PrincipalOf(ctx)
	lifetime := time.Duration(deref(request.Body.ExpiresIn)) * time.Second
	target := chat.Target{Conversation: request.Body.Conversation, BotRef: request.Body.Chatbot, Contact: request.Body.Contact}
	key := contract.IdempotencyKey(ctx, request.Params.IdempotencyKey)
	created, err := h.auth.CreateToken(ctx, principal, lifetime, deref(request.Body.Origin), key, h.chat.ForToken(principal, target))
	if err != nil {
		return nil, err
	}
	answer := openapi.CreateClientToken201JSONResponse{
		Token:        created.Secret,
		ExpiresAt:    jsontext.FormatTime(created.ExpiresAt),
		Scopes:       toAPIScopes(created.Scopes),
		Conversation: toAPIIDOrNull(created.Subject.Bounds.Conversation),
		Contact:      created.Subject.Bounds.Contact,
		Chatbot:      toAPIIDOrNull(created.Subject.Bounds.Bot),
		Origin:       nullable.NewNullNullable[string](),
	}
	if created.Origin != "" {
		answer.Origin.Set(created.Origin)
	}
	return answer, nil
}

// CreateWsTicket implements POST /api/ws-tickets/.
func (h tokenHandlers) CreateWsTicket(ctx context.Context, request openapi.CreateWsTicketRequestObject) (openapi.CreateWsTicketResponseObject, error) {
	principal := auth.PrincipalOf(ctx)
	target := chat.Target{Conversation: request.Body.Conversation, BotRef: request.Body.Chatbot}
	created, err := h.auth.CreateTicket(ctx, principal, contract.IdempotencyKey(ctx, request.Params.IdempotencyKey), h.chat.ForTicket(principal, target))
	if err != nil {
		return nil, err
	}
	return openapi.CreateWsTicket201JSONResponse{Ticket: created.Secret, ExpiresAt: jsontext.FormatTime(created.ExpiresAt)}, nil
}

// toAPIIDOrNull returns an ID as a nullable field; the zero ID becomes null.
func toAPIIDOrNull(id uuid.UUID) nullable.Nullable[uuid.UUID] {
	if id == uuid.Nil {
		return nullable.NewNullNullable[uuid.UUID]()
	}
	return nullable.NewNullableWithValue(id)
}
