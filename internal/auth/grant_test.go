package auth_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/dbtest"
	"parley/internal/secret"
)

// A client token stays valid while the signing key is configured, even if it is no longer the
// first.
func TestClientTokenSurvivesKeyRotation(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	old, fresh := secret.NewKey(), secret.NewKey()
	withKeys := func(list string) *auth.Auth {
		keys, err := secret.Parse(list)
		if err != nil {
			t.Fatal(err)
		}
		return auth.New(s, auth.WithKeys(keys))
	}
	a := withKeys(old)
	_, key, err := a.CreateKey(t.Context(), organization(t, s, "Acme"), auth.NewKey{Name: "Key", User: "alice", Scopes: []auth.Scope{auth.Admin}})
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := a.Authenticate(t.Context(), "Bearer "+key)
	if err != nil {
		t.Fatal(err)
	}
	bounds := auth.Bounds{Conversation: uuid.New(), Bot: uuid.New(), Contact: uuid.New()}
	user := uuid.New()
	issued, err := a.CreateToken(t.Context(), issuer, time.Hour, "https://a.example", nil, func(context.Context, *db.Queries) (auth.Subject, error) {
		return auth.Subject{UserID: user, Bounds: bounds}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]*auth.Auth{"unchanged": a, "rotated": withKeys(fresh + "," + old)} {
		principal, err := other.Authenticate(t.Context(), "bearer "+issued.Secret)
		if err != nil || principal.UserID != user || principal.Bounds != bounds || !principal.IsClientToken || principal.Origin != "https://a.example" || principal.KeyID != issuer.KeyID ||
			principal.Has(auth.Agent) || !principal.Has(auth.Chat) || principal.IsStaff() || !principal.ExpiresAt.Equal(issued.ExpiresAt.Truncate(time.Microsecond)) {
			t.Errorf("%s: principal %+v, error %v", name, principal, err)
		}
	}
	for name, other := range map[string]*auth.Auth{"key removed": withKeys(fresh), "without keys": auth.New(s)} {
		if _, err := other.Authenticate(t.Context(), "bearer "+issued.Secret); !apperr.Is(err, apperr.Unauthorized) {
			t.Errorf("%s: error %v, want unauthorized", name, err)
		}
	}
}
