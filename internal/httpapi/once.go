package httpapi

import (
	"context"
	"crypto/sha256"

	"parley/internal/auth"
	"parley/internal/store"
)

// onceFor is the request's Idempotency-Key, as its parameter has it; nil for none. An
// answer that is an earlier request's gets the header that says so.
func onceFor(ctx context.Context, key *string) *store.IdempotencyKey {
	return onceForBody(ctx, key, callOf(ctx).bodyHash)
}

// onceForFile is onceFor for an upload. The file counts as its body: clients choose
// the boundaries of a form anew for each request.
func onceForFile(ctx context.Context, key *string, file []byte) *store.IdempotencyKey {
	if key == nil {
		return nil
	}
	hash := sha256.Sum256(file)
	return onceForBody(ctx, key, hash[:])
}

func onceForBody(ctx context.Context, key *string, hash []byte) *store.IdempotencyKey {
	if key == nil {
		return nil
	}
	who, noted := auth.PrincipalOf(ctx), callOf(ctx)
	scope := noted.scope
	if who.IsBound() {
		// Browsers that share a user must not get each other's answers.
		scope += " within " + who.Bounds.String()
	}
	return &store.IdempotencyKey{
		OrganizationID: who.OrganizationID,
		UserID:         who.UserID,
		Scope:          scope,
		Key:            *key,
		Hash:           hash,
		OnReplay:       func() { noted.header.Set("Idempotency-Replayed", "true") },
	}
}
