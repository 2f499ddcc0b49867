package auth_test

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/dbtest"
	"parley/internal/store"
)

func organization(t testing.TB, s *store.Store, name string) uuid.UUID {
	t.Helper()
	made, err := s.CreateOrganization(t.Context(), uuid.Must(uuid.NewV7()), name)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// A key speaks for its user and organization, with the scopes that it was given and no others; admin has them all.
func TestAKeySpeaksForItsUser(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	org := organization(t, s, "Acme")
	_, key, err := a.CreateKey(t.Context(), org, auth.NewKey{Name: "Portal", User: "  portal ", Scopes: []auth.Scope{auth.Chat, auth.Manage, auth.Chat}})
	if err != nil {
		t.Fatal(err)
	}
	who, err := a.Authenticate(t.Context(), "Bearer "+key)
	if err != nil {
		t.Fatal(err)
	}
	if who.OrganizationID != org || who.OrganizationName != "Acme" || who.UserName != "portal" || len(who.Scopes) != 2 {
		t.Errorf("%+v", who)
	}
	for scope, has := range map[auth.Scope]bool{auth.Chat: true, auth.Manage: true, auth.Agent: false, auth.Admin: false, auth.RecordsRead: false, auth.RecordsWrite: false} {
		if who.Has(scope) != has {
			t.Errorf("Has(%s) is %v", scope, !has)
		}
		if !(auth.Principal{Scopes: []auth.Scope{auth.Admin}}).Has(scope) {
			t.Errorf("admin lacks %s", scope)
		}
	}
	if who.IsStaff() || !(auth.Principal{Scopes: []auth.Scope{auth.Agent}}).IsStaff() {
		t.Error("the scope agent makes the staff")
	}
}

// Who was not authenticated is nobody: no organization, no scope.
func TestNobodyHasNoScope(t *testing.T) {
	t.Parallel()
	if who := auth.PrincipalOf(context.Background()); who.OrganizationID != uuid.Nil || who.Has(auth.Chat) || who.IsStaff() {
		t.Errorf("%+v", who)
	}
	if who := auth.PrincipalOf(auth.WithPrincipal(context.Background(), auth.Principal{UserName: "alice"})); who.UserName != "alice" {
		t.Errorf("%+v", who)
	}
}

// Of a key only the hash of its secret is kept, and no two keys are alike.
func TestOnlyTheHashOfASecretIsKept(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	org := organization(t, s, "Acme")
	seen := map[string]bool{}
	for range 20 {
		made, key, err := a.CreateKey(t.Context(), org, auth.NewKey{Name: "Key", User: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		prefix, secret, _ := strings.Cut(key, ".")
		hash := sha256.Sum256([]byte(secret))
		if made.ApiKey.Prefix != prefix || string(made.ApiKey.SecretHash) != string(hash[:]) || seen[prefix] || seen[secret] || len(secret) < 32 {
			t.Errorf("%+v of %s", made, key)
		}
		seen[prefix], seen[secret] = true, true
	}
}

// An expired key is refused like one that never was, in the same words.
func TestAnExpiredKeyIsLikeNone(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	org := organization(t, s, "Acme")
	_, err := createKeyUntil(t, a, org, time.Now().Add(-time.Millisecond))
	if !apperr.Is(err, apperr.InvalidRequest) {
		t.Errorf("a key of the past: %v", err)
	}
	key, err := createKeyUntil(t, a, org, time.Now().Add(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(t.Context(), "Bearer "+key); err != nil {
		t.Fatal(err)
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for range 1000 {
		<-look.C
		if _, err = a.Authenticate(t.Context(), "Bearer "+key); err != nil {
			break
		}
	}
	_, unknown := a.Authenticate(t.Context(), "Bearer pk_0000000000.x")
	if err == nil || unknown == nil || err.Error() != unknown.Error() || !apperr.Is(err, apperr.Unauthorized) {
		t.Errorf("expired: %v, unknown: %v", err, unknown)
	}
}

func createKeyUntil(t *testing.T, a *auth.Auth, org uuid.UUID, at time.Time) (string, error) {
	t.Helper()
	_, key, err := a.CreateKey(t.Context(), org, auth.NewKey{Name: "Key", User: "alice", ExpiresAt: &at})
	return key, err
}

// Two administrators who revoke each other at the same time do not lock everybody out.
func TestTwoAdministratorsCannotRevokeEachOther(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	for round := range 10 {
		org := organization(t, s, strings.Repeat("x", round+1))
		var ids [2]string
		for i := range ids {
			made, _, err := a.CreateKey(t.Context(), org, auth.NewKey{Name: "Admin", User: "admin", Scopes: []auth.Scope{auth.Admin}})
			if err != nil {
				t.Fatal(err)
			}
			ids[i] = made.ApiKey.ID.String()
		}
		var errs [2]error
		var both sync.WaitGroup
		for i := range ids {
			both.Go(func() { errs[i] = a.RevokeKey(t.Context(), org, ids[i]) })
		}
		both.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !apperr.Is(errs[0], apperr.Conflict) && !apperr.Is(errs[1], apperr.Conflict) {
			t.Errorf("%v and %v", errs[0], errs[1])
		}
	}
}

// Another organization's keys are neither listed nor revoked.
func TestKeysAreTheirOrganizationsOwn(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	ours, theirs := organization(t, s, "Ours"), organization(t, s, "Theirs")
	made, key, err := a.CreateKey(t.Context(), theirs, auth.NewKey{Name: "Key", User: "alice", Scopes: []auth.Scope{auth.Chat}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RevokeKey(t.Context(), ours, made.ApiKey.ID.String()); !apperr.Is(err, apperr.NotFound) {
		t.Errorf("revoked by others: %v", err)
	}
	if list, count, err := a.ListKeys(t.Context(), ours, 100, 0); err != nil || count != 0 || len(list) != 0 {
		t.Errorf("%v, %d, %v", list, count, err)
	}
	if _, err := a.Authenticate(t.Context(), "Api-Key "+key); err != nil {
		t.Error(err)
	}
	if err := a.RevokeKey(t.Context(), theirs, made.ApiKey.ID.String()); err != nil {
		t.Error(err)
	}
	if _, err := a.Authenticate(t.Context(), "Api-Key "+key); !apperr.Is(err, apperr.Unauthorized) {
		t.Errorf("a revoked key: %v", err)
	}
}

// The last use is noted, to the minute: not by each request.
func TestTheLastUseIsNotedToTheMinute(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	org := organization(t, s, "Acme")
	_, key, err := a.CreateKey(t.Context(), org, auth.NewKey{Name: "Key", User: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	lastUse := func() *time.Time {
		t.Helper()
		list, _, err := a.ListKeys(t.Context(), org, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		return list[0].ApiKey.LastUsedAt
	}
	if at := lastUse(); at != nil {
		t.Errorf("a new key was used at %v", at)
	}
	var first *time.Time
	for i := range 3 {
		if _, err := a.Authenticate(t.Context(), "Bearer "+key); err != nil {
			t.Fatal(err)
		}
		at := lastUse()
		if i == 0 {
			first = at
		}
		if at == nil || !at.Equal(*first) {
			t.Errorf("use %d is noted as %v, the first was at %v", i+1, at, first)
		}
	}
}

// Whatever the header says: it is Unauthorized, or the very key behind one of the two schemes.
func FuzzAuthorization(f *testing.F) {
	s := dbtest.Open(f)
	a := auth.New(s)
	const key = "pk_fuzz.secret.with.dots"
	if _, _, err := a.CreateKey(f.Context(), organization(f, s, "Acme"), auth.NewKey{Name: "Key", User: "alice", Key: key}); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"", "Bearer", "Bearer ", "Bearer " + key, "bearer  " + key + " ", "API-KEY\t" + key, "Api-Key " + key, key, "Basic " + key, "Bearer pk_fuzz", "Bearer pk_fuzz.", "Bearer .secret",
		"Bearer pk_fuzz.secret", "Bearer pk_fuzz\x00.x", "Bearer \xff.x", "Bearer " + strings.Repeat("x", 10000) + ".y", "Bearer pk_fuzz.secret.with.dots\x00", "Bearer  .", "Bearer %.x", "Bearer '.x", "Bearer 字.x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		who, err := a.Authenticate(t.Context(), header)
		if err == nil {
			scheme, rest, _ := strings.Cut(header, " ")
			if who.UserName != "alice" || strings.TrimSpace(rest) != key || !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "Api-Key") {
				t.Fatalf("%q is %+v", header, who)
			}
			return
		}
		if !apperr.Is(err, apperr.Unauthorized) {
			t.Fatalf("%q: %v", header, err)
		}
	})
}
