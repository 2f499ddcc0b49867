package auth_test

import (
	"context"
	"testing"
	"time"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/dbtest"
)

// A key that was taken a moment ago is refused at once where it is revoked, and within
// about a second at another instance.
func TestARevokedKeyIsForgotten(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	here, there := auth.New(s), auth.New(s)
	org := organization(t, s, "Acme")
	made, key, err := here.CreateKey(t.Context(), org, auth.NewKey{Name: "ends", User: "ann", Scopes: []auth.Scope{auth.Chat}})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*auth.Auth{here, there} {
		if _, err := a.Authenticate(t.Context(), "Api-Key "+key); err != nil {
			t.Fatal(err)
		}
	}
	if err := here.RevokeKey(t.Context(), org, made.ApiKey.ID.String()); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Authenticate(t.Context(), "Api-Key "+key); !apperr.Is(err, apperr.Unauthorized) {
		t.Errorf("where it was revoked: %v", err)
	}
	refusedWithin(t, 2*time.Second, there, key)
}

// A key that was taken a moment ago is refused once its time is over.
func TestAnExpiredKeyIsForgotten(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	key, err := createKeyUntil(t, a, organization(t, s, "Acme"), time.Now().Add(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	who, err := a.Authenticate(t.Context(), "Api-Key "+key)
	if err != nil {
		t.Fatal(err)
	}
	refusedWithin(t, 5*time.Second, a, key)
	if left := time.Until(*who.ExpiresAt); left > 0 {
		t.Errorf("it was refused %s too early", left)
	}
}

func refusedWithin(t *testing.T, bound time.Duration, a *auth.Auth, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for ; ; <-look.C {
		_, err := a.Authenticate(ctx, "Api-Key "+key)
		if apperr.Is(err, apperr.Unauthorized) {
			return
		}
		if err != nil {
			t.Fatalf("not refused within %s: %v", bound, err)
		}
	}
}
