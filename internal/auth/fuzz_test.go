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

// Nobody makes a client token or a ticket, or makes another one of one that there is: all that is taken are the very bytes
// that were signed, and a ticket as it was given out, once.
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
	maker, err := a.Authenticate(f.Context(), "Bearer "+key)
	if err != nil {
		f.Fatal(err)
	}
	bind := func(context.Context, *db.Queries) (auth.Subject, error) {
		return auth.Subject{UserID: maker.UserID, Bounds: auth.Bounds{Conversation: uuid.New()}}, nil
	}
	made, err := a.CreateToken(f.Context(), maker, time.Hour, "https://a.example", nil, bind)
	if err != nil {
		f.Fatal(err)
	}
	signed := bytesOf(made.Secret)
	for _, seed := range []string{"", "pct_", "wst_", "pct_AAAA", made.Secret, made.Secret + "A", made.Secret[:40], "pct_" + made.Secret, strings.ToUpper(made.Secret), made.Secret + "=", made.Secret + "\n", "wst_" + strings.Repeat("A", 32)} {
		f.Add(seed, 0, byte(0))
		f.Add(seed, 7, byte(1))
	}
	f.Fuzz(func(t *testing.T, text string, at int, flip byte) {
		changed := bytes.Clone(signed)
		changed[uint(at)%uint(len(changed))] ^= flip
		for _, token := range []string{text, "pct_" + base64.RawURLEncoding.EncodeToString(changed)} {
			who, err := a.Authenticate(t.Context(), "Bearer "+token)
			if isSame := strings.HasPrefix(token, "pct_") && bytes.Equal(bytesOf(token), signed); err == nil {
				if !isSame || who.UserID != maker.UserID || !who.IsClientToken {
					t.Fatalf("%q is %+v", token, who)
				}
			} else if isSame && flip == 0 && token != text || !apperr.Is(err, apperr.Unauthorized) {
				t.Fatalf("%q: %v", token, err)
			}
		}
		if _, err := a.TakeTicket(t.Context(), text); !apperr.Is(err, apperr.Unauthorized) {
			t.Fatalf("the ticket %q: %v", text, err)
		}
		given, err := a.CreateTicket(t.Context(), maker, nil, bind)
		if apperr.Is(err, apperr.Unavailable) {
			return // too many within a minute
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.TakeTicket(t.Context(), given.Secret); err != nil {
			t.Fatal(err)
		}
		if _, err := a.TakeTicket(t.Context(), given.Secret); !apperr.Is(err, apperr.Unauthorized) {
			t.Fatalf("a ticket is taken twice: %v", err)
		}
	})
}

// bytesOf are what a token says, nil where it says nothing.
func bytesOf(token string) []byte {
	signed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "pct_"))
	if err != nil {
		return nil
	}
	return signed
}
