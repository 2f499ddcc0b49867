package auth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/dbtest"
	"parley/internal/secret"
)

// Only the exact bytes of an issued client token authenticate, and only an issued ticket, once.
func FuzzTokens(f *testing.F) {
	s := dbtest.Open(f)
	keys, err := secret.Parse(secret.NewKey())
	if err != nil {
		f.Fatal(err)
	}
	a := auth.New(s, auth.WithKeys(keys))
	_, key, err := a.CreateKey(f.Context(), organization(f, s, "Acme"), auth.NewKey{Name: "Key", User: "alice", Scopes: []auth.Scope{auth.Chat}})
	if err != nil {
		f.Fatal(err)
	}
	issuer, err := a.Authenticate(f.Context(), "Bearer "+key)
	if err != nil {
		f.Fatal(err)
	}
	bind := func(context.Context, *db.Queries) (auth.Subject, error) {
		return auth.Subject{UserID: issuer.UserID, Bounds: auth.Bounds{Conversation: uuid.New()}}, nil
	}
	issued, err := a.CreateToken(f.Context(), issuer, time.Hour, "https://a.example", nil, bind)
	if err != nil {
		f.Fatal(err)
	}
	signed := decodeToken(issued.Secret)
	for _, seed := range []string{"", "pct_", "wst_", "pct_AAAA", issued.Secret, issued.Secret + "A", issued.Secret[:40], "pct_" + issued.Secret, strings.ToUpper(issued.Secret), issued.Secret + "=", issued.Secret + "\n", "wst_" + strings.Repeat("A", 32)} {
		f.Add(seed, 0, byte(0))
		f.Add(seed, 7, byte(1))
	}
	f.Fuzz(func(t *testing.T, text string, at int, flip byte) {
		changed := bytes.Clone(signed)
		changed[uint(at)%uint(len(changed))] ^= flip
		for _, token := range []string{text, "pct_" + base64.RawURLEncoding.EncodeToString(changed)} {
			principal, err := a.Authenticate(t.Context(), "Bearer "+token)
			if isSame := strings.HasPrefix(token, "pct_") && bytes.Equal(decodeToken(token), signed); err == nil {
				if !isSame || principal.UserID != issuer.UserID || !principal.IsClientToken {
					t.Fatalf("%q authenticates %+v", token, principal)
				}
			} else if isSame && flip == 0 && token != text || !apperr.Is(err, apperr.Unauthorized) {
				t.Fatalf("%q: error %v, want unauthorized", token, err)
			}
		}
		if _, err := a.TakeTicket(t.Context(), text); !apperr.Is(err, apperr.Unauthorized) {
			t.Fatalf("the ticket %q: error %v, want unauthorized", text, err)
		}
		ticket, err := a.CreateTicket(t.Context(), issuer, nil, bind)
		if apperr.Is(err, apperr.Unavailable) {
			return // the limit of tickets per minute is reached
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.TakeTicket(t.Context(), ticket.Secret); err != nil {
			t.Fatal(err)
		}
		if _, err := a.TakeTicket(t.Context(), ticket.Secret); !apperr.Is(err, apperr.Unauthorized) {
			t.Fatalf("a ticket used twice: error %v, want unauthorized", err)
		}
	})
}

// decodeToken returns the bytes of a token, or nil for malformed base64.
func decodeToken(token string) []byte {
	signed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "pct_"))
	if err != nil {
		return nil
	}
	return signed
}
