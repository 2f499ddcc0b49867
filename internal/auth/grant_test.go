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

// A client token is known as long as the key that signed it, which may be no longer the first one.
func TestAClientTokenOutlivesTheRotationOfItsKey(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	old, fresh := secret.NewKey(), secret.NewKey()
	with := func(list string) *auth.Auth {
		keys, err := secret.Parse(list)
		if err != nil {
			t.Fatal(err)
		}
		return auth.New(s, auth.WithKeys(keys))
	}
	a := with(old)
	_, key, err := a.CreateKey(t.Context(), organization(t, s, "Acme"), auth.NewKey{Name: "Key", User: "alice", Scopes: []auth.Scope{auth.Admin}})
	if err != nil {
		t.Fatal(err)
	}
	maker, err := a.Authenticate(t.Context(), "Bearer "+key)
	if err != nil {
		t.Fatal(err)
	}
	bounds := auth.Bounds{Conversation: uuid.New(), Bot: uuid.New(), Contact: uuid.New()}
	speaker := uuid.New()
	made, err := a.CreateToken(t.Context(), maker, time.Hour, "https://a.example", nil, func(context.Context, *db.Queries) (auth.Subject, error) {
		return auth.Subject{UserID: speaker, Bounds: bounds}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]*auth.Auth{"as it was": a, "rotated": with(fresh + "," + old)} {
		who, err := other.Authenticate(t.Context(), "bearer "+made.Secret)
		if err != nil || who.UserID != speaker || who.Bounds != bounds || !who.IsClientToken || who.Origin != "https://a.example" || who.KeyID != maker.KeyID ||
			who.Has(auth.Agent) || !who.Has(auth.Chat) || who.IsStaff() || !who.ExpiresAt.Equal(made.ExpiresAt.Truncate(time.Microsecond)) {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
	for name, other := range map[string]*auth.Auth{"forgotten": with(fresh), "without keys": auth.New(s)} {
		if _, err := other.Authenticate(t.Context(), "bearer "+made.Secret); !apperr.Is(err, apperr.Unauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
