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

// organization creates an organization and returns its ID.
func organization(t testing.TB, s *store.Store, name string) uuid.UUID {
	t.Helper()
	created, err := s.CreateOrganization(t.Context(), uuid.Must(uuid.NewV7()), name)
	if err != nil {
		t.Fatal(err)
	}
	return created.ID
}

func TestAPIKeyAuthenticatesItsUserWithItsScopes(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	org := organization(t, s, "Acme")
	_, key, err := a.CreateKey(t.Context(), org, auth.NewKey{Name: "Portal", User: "  portal ", Scopes: []auth.Scope{auth.Chat, auth.Manage, auth.Chat}})
	if err != nil {
		t.Fatal(err)
	}
	principal, err := a.Authenticate(t.Context(), "Bearer "+key)
	if err != nil {
		t.Fatal(err)
	}
	if principal.OrganizationID != org || principal.OrganizationName != "Acme" || principal.UserName != "portal" || len(principal.Scopes) != 2 {
		t.Errorf("unexpected principal %+v", principal)
	}
	for scope, has := range map[auth.Scope]bool{auth.Chat: true, auth.Manage: true, auth.Agent: false, auth.Admin: false, auth.RecordsRead: false, auth.RecordsWrite: false} {
		if principal.Has(scope) != has {
			t.Errorf("Has(%s) is %t, want %t", scope, !has, has)
		}
		if !(auth.Principal{Scopes: []auth.Scope{auth.Admin}}).Has(scope) {
			t.Errorf("admin does not include %s", scope)
		}
	}
	if principal.IsStaff() || !(auth.Principal{Scopes: []auth.Scope{auth.Agent}}).IsStaff() {
		t.Error("IsStaff does not equal having the scope agent")
	}
}

func TestZeroPrincipalHasNoScope(t *testing.T) {
	t.Parallel()
	if principal := auth.PrincipalOf(context.Background()); principal.OrganizationID != uuid.Nil || principal.Has(auth.Chat) || principal.IsStaff() {
		t.Errorf("without a principal: %+v", principal)
	}
	if principal := auth.PrincipalOf(auth.WithPrincipal(context.Background(), auth.Principal{UserName: "alice"})); principal.UserName != "alice" {
		t.Errorf("with a principal: %+v", principal)
	}
}

func TestAPIKeysAreUniqueAndStoredAsHashes(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	org := organization(t, s, "Acme")
	seen := map[string]bool{}
	for range 20 {
		created, key, err := a.CreateKey(t.Context(), org, auth.NewKey{Name: "Key", User: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		prefix, secret, _ := strings.Cut(key, ".")
		hash := sha256.Sum256([]byte(secret))
		if created.ApiKey.Prefix != prefix || string(created.ApiKey.SecretHash) != string(hash[:]) || seen[prefix] || seen[secret] || len(secret) < 32 {
			t.Errorf("stored key %+v, key %s", created, key)
		}
		seen[prefix], seen[secret] = true, true
	}
}

func TestExpiredKeyIsRefusedLikeAnUnknownOne(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	org := organization(t, s, "Acme")
	_, err := createKeyUntil(t, a, org, time.Now().Add(-time.Millisecond))
	if !apperr.Is(err, apperr.InvalidRequest) {
		t.Errorf("expiry in the past: error %v, want invalid request", err)
	}
	key, err := createKeyUntil(t, a, org, time.Now().Add(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(t.Context(), "Bearer "+key); err != nil {
		t.Fatal(err)
	}
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for range 1000 {
		<-poll.C
		if _, err = a.Authenticate(t.Context(), "Bearer "+key); err != nil {
			break
		}
	}
	_, unknown := a.Authenticate(t.Context(), "Bearer pk_0000000000.x")
	if err == nil || unknown == nil || err.Error() != unknown.Error() || !apperr.Is(err, apperr.Unauthorized) {
		t.Errorf("the error of an expired key is %v, that of an unknown one %v", err, unknown)
	}
}

func createKeyUntil(t *testing.T, a *auth.Auth, org uuid.UUID, at time.Time) (string, error) {
	t.Helper()
	_, key, err := a.CreateKey(t.Context(), org, auth.NewKey{Name: "Key", User: "alice", ExpiresAt: &at})
	return key, err
}

func TestLastAdminKeySurvivesConcurrentRevocations(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	for round := range 10 {
		org := organization(t, s, strings.Repeat("x", round+1))
		var ids [2]string
		for i := range ids {
			created, _, err := a.CreateKey(t.Context(), org, auth.NewKey{Name: "Admin", User: "admin", Scopes: []auth.Scope{auth.Admin}})
			if err != nil {
				t.Fatal(err)
			}
			ids[i] = created.ApiKey.ID.String()
		}
		var errs [2]error
		var both sync.WaitGroup
		for i := range ids {
			both.Go(func() { errs[i] = a.RevokeKey(t.Context(), org, ids[i]) })
		}
		both.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !apperr.Is(errs[0], apperr.Conflict) && !apperr.Is(errs[1], apperr.Conflict) {
			t.Errorf("errors %v and %v, want exactly one conflict", errs[0], errs[1])
		}
	}
}

func TestAPIKeysAreIsolatedByOrganization(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	a := auth.New(s)
	ours, theirs := organization(t, s, "Ours"), organization(t, s, "Theirs")
	created, key, err := a.CreateKey(t.Context(), theirs, auth.NewKey{Name: "Key", User: "alice", Scopes: []auth.Scope{auth.Chat}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RevokeKey(t.Context(), ours, created.ApiKey.ID.String()); !apperr.Is(err, apperr.NotFound) {
		t.Errorf("revoked by another organization: error %v, want not found", err)
	}
	if list, count, err := a.ListKeys(t.Context(), ours, 100, 0); err != nil || count != 0 || len(list) != 0 {
		t.Errorf("the other organization lists %v of %d keys, %v", list, count, err)
	}
	if _, err := a.Authenticate(t.Context(), "Api-Key "+key); err != nil {
		t.Error(err)
	}
	if err := a.RevokeKey(t.Context(), theirs, created.ApiKey.ID.String()); err != nil {
		t.Error(err)
	}
	if _, err := a.Authenticate(t.Context(), "Api-Key "+key); !apperr.Is(err, apperr.Unauthorized) {
		t.Errorf("a revoked key: error %v, want unauthorized", err)
	}
}

func TestLastUseIsRecordedOncePerMinute(t *testing.T) {
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
		t.Errorf("the last use of a new key is %v", at)
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
			t.Errorf("after use %d the last use is %v, want %v", i+1, at, first)
		}
	}
}

// A header contains exactly the key after one of the two schemes, or is Unauthorized.
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
		principal, err := a.Authenticate(t.Context(), header)
		if err == nil {
			scheme, rest, _ := strings.Cut(header, " ")
			if principal.UserName != "alice" || strings.TrimSpace(rest) != key || !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "Api-Key") {
				t.Fatalf("%q authenticates %+v", header, principal)
			}
			return
		}
		if !apperr.Is(err, apperr.Unauthorized) {
			t.Fatalf("%q: error %v, want unauthorized", header, err)
		}
	})
}
