package store_test

import (
	"encoding/json"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	gendb "parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/dbtest"
	"parley/internal/store"
)

// asking is a user with an Idempotency-Key, whose requests make organizations.
func asking(t *testing.T, s *store.Store) store.IdempotencyKey {
	t.Helper()
	org := organization(t, s, "Asking").ID
	return store.IdempotencyKey{OrganizationID: org, UserID: user(t, s, org, "a"), Scope: "POST /", Key: "k", Hash: []byte("body")}
}

// making is an effect: it makes an organization.
func making(t *testing.T, name string) func(q *gendb.Queries) (gendb.Organization, error) {
	return func(q *gendb.Queries) (gendb.Organization, error) {
		return q.CreateOrganization(t.Context(), uuid.New(), name)
	}
}

func TestARepeatGetsTheAnswerAgain(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	key := asking(t, s)
	replayed := 0
	key.OnReplay = func() { replayed++ }
	first, err := store.Idempotent(t.Context(), s, &key, making(t, "Acme"))
	if err != nil || replayed != 0 {
		t.Fatalf("%v, replayed %d times", err, replayed)
	}
	again, err := store.Idempotent(t.Context(), s, &key, making(t, "Acme"))
	if err != nil || again.ID != first.ID || !again.CreatedAt.Equal(first.CreatedAt) || replayed != 1 {
		t.Errorf("%v (%v), first %v, replayed %d times", again, err, first, replayed)
	}
	// with another body it is refused
	key.Hash = []byte("other")
	if _, err := store.Idempotent(t.Context(), s, &key, making(t, "Bell")); !apperr.Is(err, apperr.Unprocessable) {
		t.Errorf("%v", err)
	}
	wantOrganizations(t, s, 2)
	// without a key it is done
	if _, err := store.Idempotent(t.Context(), s, nil, making(t, "Cray")); err != nil {
		t.Error(err)
	}
	wantOrganizations(t, s, 3)
	if replayed != 1 {
		t.Errorf("replayed %d times", replayed)
	}
}

func TestAnEffectThatFailsLeavesTheKeyFree(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	key := asking(t, s)
	failing := map[string]func(q *gendb.Queries) (gendb.Organization, error){
		"an error": func(q *gendb.Queries) (gendb.Organization, error) {
			made, err := making(t, "Acme")(q)
			return made, errors.Join(err, io.ErrUnexpectedEOF)
		},
		"a fault": func(q *gendb.Queries) (gendb.Organization, error) {
			_, err := making(t, "Acme")(q)
			if err != nil {
				return gendb.Organization{}, err
			}
			return making(t, "Acme")(q)
		},
		"a panic": func(q *gendb.Queries) (gendb.Organization, error) {
			_, err := making(t, "Acme")(q)
			panic(err)
		},
	}
	for what, effect := range failing {
		func() {
			defer func() { _ = recover() }()
			if made, err := store.Idempotent(t.Context(), s, &key, effect); err == nil || made != (gendb.Organization{}) {
				t.Errorf("%s: %v, %v", what, made, err)
			}
		}()
		wantOrganizations(t, s, 1)
	}
	// An answer that cannot be kept is no effect either.
	if _, err := store.Idempotent(t.Context(), s, &key, func(q *gendb.Queries) (any, error) {
		_, err := making(t, "Acme")(q)
		return func() {}, err
	}); err == nil {
		t.Error("a function was kept")
	}
	if _, err := store.Idempotent(t.Context(), s, &key, making(t, "Acme")); err != nil {
		t.Error(err)
	}
	wantOrganizations(t, s, 2)
}

func TestASecretIsShownOnce(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	key := asking(t, s)
	if _, err := store.IdempotentSecret(t.Context(), s, &key, making(t, "Acme")); err != nil {
		t.Fatal(err)
	}
	_, err := store.IdempotentSecret(t.Context(), s, &key, making(t, "Bell"))
	if told, ok := errors.AsType[*apperr.Error](err); !ok || told.Kind != apperr.Conflict || told.RetryAfter != 0 {
		t.Errorf("%v", err)
	}
	stored, err := s.GetIdempotencyKey(t.Context(), gendb.GetIdempotencyKeyParams{
		OrganizationID: key.OrganizationID, UserID: key.UserID, Scope: key.Scope, Key: key.Key,
	})
	if err != nil || stored.Answer != nil {
		t.Errorf("%s is kept (%v)", stored.Answer, err)
	}
	key.Hash = []byte("other")
	if _, err := store.IdempotentSecret(t.Context(), s, &key, making(t, "Bell")); !apperr.Is(err, apperr.Unprocessable) {
		t.Errorf("%v", err)
	}
	wantOrganizations(t, s, 2)
}

func TestManyWithOneKeyHaveOneEffect(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	key := asking(t, s)
	var done, replayed atomic.Int32
	key.OnReplay = func() { replayed.Add(1) }
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			made, err := store.Idempotent(t.Context(), s, &key, func(q *gendb.Queries) (json.RawMessage, error) {
				done.Add(1)
				_, err := making(t, "Acme")(q)
				return json.RawMessage(`{"a": [1, null]}`), err
			})
			if err != nil || len(made) == 0 {
				t.Errorf("%s, %v", made, err)
			}
		})
	}
	all.Wait()
	if done.Load() != 1 || replayed.Load() != 39 {
		t.Errorf("done %d times, replayed %d times", done.Load(), replayed.Load())
	}
	wantOrganizations(t, s, 2)
}

// A key that is forgotten while a repeat waits for it is free: the repeat is a request of its own.
func TestAKeyThatIsForgottenMeanwhileIsFree(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	s := open(t, url)
	key := asking(t, s)
	if _, err := store.Idempotent(t.Context(), s, &key, making(t, "Acme")); err != nil {
		t.Fatal(err)
	}
	other := connect(t, url)
	if _, err := other.Exec(t.Context(), "BEGIN; DELETE FROM idempotency_keys"); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		made, err := store.Idempotent(t.Context(), s, &key, making(t, "Bell"))
		if err == nil && made.Name != "Bell" {
			err = errors.New("the answer is " + made.Name)
		}
		result <- err
	}()
	for waits := false; !waits; {
		if err := store.Raw(s).QueryRow(t.Context(), waiting).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := other.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// waiting tells whether a transaction of this database waits for another.
const waiting = `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`

// What Once does in a transaction of others is part of it.
func TestOnceIsPartOfAWhole(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	key := asking(t, s)
	err := s.WithTx(t.Context(), func(whole *store.Store) error {
		first, err := store.Idempotent(t.Context(), whole, &key, making(t, "Acme"))
		if err != nil {
			return err
		}
		again, err := store.Idempotent(t.Context(), whole, &key, making(t, "Acme"))
		if err != nil || again.ID != first.ID {
			t.Errorf("%v, %v", again, err)
		}
		return io.ErrUnexpectedEOF
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	wantOrganizations(t, s, 1)
	if _, err := store.Idempotent(t.Context(), s, &key, making(t, "Acme")); err != nil {
		t.Error(err)
	}
}
