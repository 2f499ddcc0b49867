package httpapi

import (
	"context"
	"time"

	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/auth"
)

// ListAPIKeys implements GET /api/api-keys/.
func (a *API) ListAPIKeys(ctx context.Context, request openapi.ListAPIKeysRequestObject) (openapi.ListAPIKeysResponseObject, error) {
	page := pageOf(request.Params.Page, request.Params.PageSize)
	rows, count, err := a.Auth.ListKeys(ctx, auth.PrincipalOf(ctx).OrganizationID, page.size, page.offset())
	if err != nil {
		return nil, err
	}
	if err := page.check(count); err != nil {
		return nil, err
	}
	next, previous := page.links(ctx, count)
	return openapi.ListAPIKeys200JSONResponse{Count: count, Next: next, Previous: previous, Results: each(rows, toAPIKey)}, nil
}

// CreateAPIKey implements POST /api/api-keys/.
func (a *API) CreateAPIKey(ctx context.Context, request openapi.CreateAPIKeyRequestObject) (openapi.CreateAPIKeyResponseObject, error) {
	who := auth.PrincipalOf(ctx)
	wanted := auth.NewKey{
		Name:           request.Body.Name,
		User:           who.UserName,
		Scopes:         []auth.Scope{auth.Chat},
		IdempotencyKey: onceFor(ctx, request.Params.IdempotencyKey),
	}
	if request.Body.User != nil {
		wanted.User = *request.Body.User
	}
	if request.Body.Scopes != nil {
		wanted.Scopes = each(*request.Body.Scopes, func(scope openapi.Scope) auth.Scope { return auth.Scope(scope) })
	}
	if expires, err := request.Body.ExpiresAt.Get(); err == nil { // neither absent nor null
		at, err := time.Parse(time.RFC3339Nano, expires)
		if err != nil || at.UTC().Year() > 9999 {
			return nil, apperr.Field(apperr.InvalidRequest, "/expiresAt", "must be a time as RFC 3339 has it")
		}
		wanted.ExpiresAt = &at
	}
	made, secret, err := a.Auth.CreateKey(ctx, who.OrganizationID, wanted)
	if err != nil {
		return nil, err
	}
	key := toAPIKey(made)
	return openapi.CreateAPIKey201JSONResponse{
		ID:         key.ID,
		Prefix:     key.Prefix,
		Name:       key.Name,
		User:       key.User,
		Scopes:     key.Scopes,
		ExpiresAt:  key.ExpiresAt,
		LastUsedAt: key.LastUsedAt,
		CreatedAt:  key.CreatedAt,
		Key:        secret,
	}, nil
}

// DeleteAPIKey implements DELETE /api/api-keys/{keyId}/.
func (a *API) DeleteAPIKey(ctx context.Context, request openapi.DeleteAPIKeyRequestObject) (openapi.DeleteAPIKeyResponseObject, error) {
	err := a.Auth.RevokeKey(ctx, auth.PrincipalOf(ctx).OrganizationID, request.KeyID)
	return openapi.DeleteAPIKey204Response{}, err
}

// GetMe implements GET /api/me/.
func (a *API) GetMe(ctx context.Context, _ openapi.GetMeRequestObject) (openapi.GetMeResponseObject, error) {
	who := auth.PrincipalOf(ctx)
	limits := []openapi.RateLimitState{}
	for _, class := range []openapi.RateLimitStateClass{openapi.RateLimitStateClassMessages, openapi.RateLimitStateClassHistory, openapi.RateLimitStateClassList} {
		state, err := a.Limiter.Peek(ctx, string(class), who.UserID.String())
		if err != nil {
			return nil, err
		}
		limits = append(limits, openapi.RateLimitState{Class: class, Limit: state.Limit, Remaining: state.Remaining, ResetIn: seconds(state.Reset)})
	}
	return openapi.GetMe200JSONResponse{
		RateLimits:   limits,
		User:         openapi.NamedReference{ID: who.UserID, Name: who.UserName},
		Organization: openapi.NamedReference{ID: who.OrganizationID, Name: who.OrganizationName},
		Scopes:       toAPIScopes(who.Scopes),
	}, nil
}
