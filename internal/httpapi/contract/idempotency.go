package contract

import (
	"context"
	"crypto/sha256"

	"parley/internal/auth"
	"parley/internal/store"
)

// IdempotencyKey returns the Idempotency-Key of a request, or nil without one. A replayed response
// gets the header Idempotency-Replayed. The key is scoped to user, method, path and body.
func IdempotencyKey(ctx context.Context, key *string) *store.IdempotencyKey {
	return idempotencyKey(ctx, key, RequestOf(ctx).bodyHash)
}

// IdempotencyKeyOfFile is IdempotencyKey for an upload. Only the file counts as its body: clients
// choose a new multipart boundary for each request.
func IdempotencyKeyOfFile(ctx context.Context, key *string, file []byte) *store.IdempotencyKey {
	if key == nil {
		return nil
	}
	hash := sha256.Sum256(file)
	return idempotencyKey(ctx, key, hash[:])
}

func idempotencyKey(ctx context.Context, key *string, hash []byte) *store.IdempotencyKey {
	if key == nil {
		return nil
	}
	principal, request := auth.PrincipalOf(ctx), RequestOf(ctx)
	scope := request.scope
	if principal.IsBound() {
		// Browsers that share a user must not receive each other's responses.
		scope += " within " + principal.Bounds.String()
	}
	return &store.IdempotencyKey{
		OrganizationID: principal.OrganizationID,
		UserID:         principal.UserID,
		Scope:          scope,
		Key:            *key,
		Hash:           hash,
		OnReplay:       func() { request.Header.Set("Idempotency-Replayed", "true") },
	}
}
