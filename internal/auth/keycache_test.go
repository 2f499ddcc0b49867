package auth_test

import (
	"context"
	"testing"
	"time"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/dbtest"
)

// A revoked key is refused immediately by the instance that revoked it, and within about a second by other instances.
func TestRevokedKeyLeavesTheCache(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	local, remote := auth.New(s), auth.New(s)
	org := organization(t, s, "Acme")
	created, key, err := local.CreateKey(t.Context(), org, auth.NewKey{Name: "ends", User: "ann", Scopes: []auth.Scope{auth.Chat}})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*auth.Auth{local, remote} {
		if _, err := a.Authenticate(t.Context(), "Api-Key "+key); err != nil {
			t.Fatal(err)
		}
	}
	if err := local.RevokeKey(t.Context(), org, created.ApiKey.ID.String()); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Authenticate(t.Context(), "Api-Key "+key); !apperr.Is(err, apperr.Unauthorized) {
		t.Errorf("at the revoking instance: error %v, want unauthorized", err)
	}
	expectRefusalWithin(t, 2*time.Second, remote, key)
}

func TestExpiredKeyLeavesTheCache(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	key, err := createKeyUntil(t, a, organization(t, s, "Acme"), time.Now().Add(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	principal, err := a.Authenticate(t.Context(), "Api-Key "+key)
	if err != nil {
		t.Fatal(err)
	}
	expectRefusalWithin(t, 5*time.Second, a, key)
	if left := time.Until(*principal.ExpiresAt); left > 0 {
		t.Errorf("refused %s before its expiry", left)
	}
}

// expectRefusalWithin polls until the key is refused.
func expectRefusalWithin(t *testing.T, bound time.Duration, a *auth.Auth, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for ; ; <-poll.C {
		_, err := a.Authenticate(ctx, "Api-Key "+key)
		if apperr.Is(err, apperr.Unauthorized) {
			return
		}
		if err != nil {
			t.Fatalf("not refused within %s: %v", bound, err)
		}
	}
}
