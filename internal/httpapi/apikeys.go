package httpapi

import (
	"context"
	"fmt"
	"time"

	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/paging"
	"parley/internal/ratelimit"
)

// keyHandlers implements the operations of API keys.
type keyHandlers struct {
	auth    *auth.Auth
	limiter *ratelimit.Limiter
}

// ListAPIKeys implements GET /api/api-keys/.
func (h keyHandlers) ListAPIKeys(ctx context.Context, request openapi.ListAPIKeysRequestObject) (openapi.ListAPIKeysResponseObject, error) {
	at := paging.Of(request.Params.Page, request.Params.PageSize, request.Params.Offset)
	rows, count, err := paging.Read(at, func(p paging.Page) ([]db.ListAPIKeysRow, int64, error) {
		return h.auth.ListKeys(ctx, auth.PrincipalOf(ctx).OrganizationID, p.Size, p.Offset())
	})
	if err != nil {
		return nil, err
	}
	list, err := paging.NewList(ctx, at, rows, count, toAPIKey)
	return openapi.ListAPIKeys200JSONResponse(list), err
}

// CreateAPIKey implements POST /api/api-keys/.
func (h keyHandlers) CreateAPIKey(ctx context.Context, request openapi.CreateAPIKeyRequestObject) (openapi.CreateAPIKeyResponseObject, error) {
	principal := auth.PrincipalOf(ctx)
	newKey := auth.NewKey{
		Name:           request.Body.Name,
		User:           principal.UserName,
		Scopes:         []auth.Scope{auth.Chat},
		IdempotencyKey: contract.IdempotencyKey(ctx, request.Params.IdempotencyKey),
	}
	if newKey.Key = deref(request.Body.Key); newKey.Key != "" {
		if err := auth.CheckImport(newKey.Key); err != nil {
			return nil, err
		}
	}
	if wanted := request.Body.RateLimits; wanted != nil {
		newKey.RateLimits = auth.KeyLimits{Messages: deref(wanted.Messages), History: deref(wanted.History), List: deref(wanted.List)}
		if err := h.checkRateLimits(newKey.RateLimits); err != nil {
			return nil, err
		}
	}
	if request.Body.User != nil {
		newKey.User = *request.Body.User
	}
	if request.Body.Scopes != nil {
		newKey.Scopes = each(*request.Body.Scopes, func(scope openapi.Scope) auth.Scope { return auth.Scope(scope) })
	}
	var err error
	if newKey.ExpiresAt, err = fromAPIExpiry(request.Body.ExpiresAt); err != nil {
		return nil, err
	}
	created, secret, err := h.auth.CreateKey(ctx, principal.OrganizationID, newKey)
	if err != nil {
		return nil, err
	}
	key := toAPIKey(created)
	return openapi.CreateAPIKey201JSONResponse{
		ID:         key.ID,
		Prefix:     key.Prefix,
		Name:       key.Name,
		User:       key.User,
		Scopes:     key.Scopes,
		ExpiresAt:  key.ExpiresAt,
		LastUsedAt: key.LastUsedAt,
		CreatedAt:  key.CreatedAt,
		RateLimits: key.RateLimits,
		Key:        secret,
	}, nil
}

// fromAPIExpiry returns nil if the expiry is absent or null.
func fromAPIExpiry(field nullable.Nullable[string]) (*time.Time, error) {
	text, err := field.Get()
	if err != nil {
		return nil, nil //nolint:nilerr // absent or null
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.UTC().Year() > 9999 {
		return nil, apperr.Field(apperr.InvalidRequest, "/expiresAt", mustBeTime)
	}
	return &at, nil
}

// UpdateAPIKey implements PATCH /api/api-keys/{keyId}/.
func (h keyHandlers) UpdateAPIKey(ctx context.Context, request openapi.UpdateAPIKeyRequestObject) (openapi.UpdateAPIKeyResponseObject, error) {
	expiresAt, err := fromAPIExpiry(request.Body.ExpiresAt)
	if err != nil {
		return nil, err
	}
	change := auth.KeyChange{Name: request.Body.Name, ExpiresAt: expiresAt, NeverExpires: request.Body.ExpiresAt.IsNull()}
	if wanted := request.Body.RateLimits; wanted != nil {
		change.Messages, change.History, change.List = fromAPILimit(wanted.Messages), fromAPILimit(wanted.History), fromAPILimit(wanted.List)
		err := h.checkRateLimits(auth.KeyLimits{Messages: deref(change.Messages), History: deref(change.History), List: deref(change.List)})
		if err != nil {
			return nil, err
		}
	}
	updated, err := h.auth.UpdateKey(ctx, auth.PrincipalOf(ctx).OrganizationID, request.KeyID, change)
	return openapi.UpdateAPIKey200JSONResponse(toAPIKey(updated)), err
}

// fromAPILimit returns nil if the limit is absent, and 0 if it is null.
func fromAPILimit(field nullable.Nullable[int]) *int {
	if !field.IsSpecified() {
		return nil
	}
	limit, _ := field.Get() // 0 if it is null
	return &limit
}

// checkRateLimits returns an error if a limit exceeds what the operator allows.
func (h keyHandlers) checkRateLimits(wanted auth.KeyLimits) error {
	ceilings := h.limiter.Ceilings
	for _, limit := range []struct {
		class           string
		wanted, ceiling int
	}{{"messages", wanted.Messages, ceilings.Messages}, {"history", wanted.History, ceilings.History}, {"list", wanted.List, ceilings.List}} {
		if limit.ceiling > 0 && limit.wanted > limit.ceiling {
			return apperr.Field(apperr.InvalidRequest, "/rateLimits/"+limit.class, fmt.Sprintf("must be at most %d, the maximum of this server", limit.ceiling))
		}
	}
	return nil
}

// DeleteAPIKey implements DELETE /api/api-keys/{keyId}/.
func (h keyHandlers) DeleteAPIKey(ctx context.Context, request openapi.DeleteAPIKeyRequestObject) (openapi.DeleteAPIKeyResponseObject, error) {
	err := h.auth.RevokeKey(ctx, auth.PrincipalOf(ctx).OrganizationID, request.KeyID)
	return openapi.DeleteAPIKey204Response{}, err
}

// GetMe implements GET /api/me/.
func (h keyHandlers) GetMe(ctx context.Context, _ openapi.GetMeRequestObject) (openapi.GetMeResponseObject, error) {
	principal := auth.PrincipalOf(ctx)
	limits := []openapi.RateLimitState{}
	for _, class := range []openapi.RateClass{
		openapi.RateClassMessages, openapi.RateClassHistory, openapi.RateClassList,
		openapi.RateClassReads, openapi.RateClassWrites, openapi.RateClassReports,
	} {
		state, err := h.limiter.Peek(ctx, string(class), contract.RateCaller(principal))
		if err != nil {
			return nil, err
		}
		limits = append(limits, openapi.RateLimitState{Class: class, Limit: state.Limit, Remaining: state.Remaining, ResetIn: contract.Seconds(state.Reset)})
	}
	return openapi.GetMe200JSONResponse{
		ID:           principal.UserID,
		Name:         principal.UserName,
		RateLimits:   limits,
		User:         openapi.NamedReference{ID: principal.UserID, Name: principal.UserName},
		Organization: openapi.NamedReference{ID: principal.OrganizationID, Name: principal.OrganizationName},
		Scopes:       toAPIScopes(principal.Scopes),
	}, nil
}
