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

// newKey creates a user and returns an Idempotency-Key of theirs.
func newKey(t *testing.T, s *store.Store) store.IdempotencyKey {
	t.Helper()
	org := organization(t, s, "Caller").ID
	return store.IdempotencyKey{OrganizationID: org, UserID: user(t, s, org, "a"), Scope: "POST /", Key: "k", Hash: []byte("body")}
}

// create returns a function that creates an organization.
func create(t *testing.T, name string) func(q *gendb.Queries) (gendb.Organization, error) {
	return func(q *gendb.Queries) (gendb.Organization, error) {
		return q.CreateOrganization(t.Context(), uuid.New(), name)
	}
}

func TestIdempotentReplaysTheResult(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	key := newKey(t, s)
	replays := 0
	key.OnReplay = func() { replays++ }
	first, err := store.Idempotent(t.Context(), s, &key, create(t, "Acme"))
	if err != nil || replays != 0 {
		t.Fatalf("first request: %v, %d replays", err, replays)
	}
	again, err := store.Idempotent(t.Context(), s, &key, create(t, "Acme"))
	if err != nil || again.ID != first.ID || !again.CreatedAt.Equal(first.CreatedAt) || replays != 1 {
		t.Errorf("repeat: %v, %v, %d replays; want %v and 1 replay", again, err, replays, first)
	}
	key.Hash = []byte("other")
	if _, err := store.Idempotent(t.Context(), s, &key, create(t, "Bell")); !apperr.Is(err, apperr.Unprocessable) {
		t.Errorf("repeat with another body: error %v, want unprocessable", err)
	}
	wantOrganizations(t, s, 2)
	if _, err := store.Idempotent(t.Context(), s, nil, create(t, "Cray")); err != nil {
		t.Errorf("without a key: %v", err)
	}
	wantOrganizations(t, s, 3)
	if replays != 1 {
		t.Errorf("%d replays, want 1", replays)
	}
}

func TestFailedEffectFreesTheKey(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	key := newKey(t, s)
	failing := map[string]func(q *gendb.Queries) (gendb.Organization, error){
		"error": func(q *gendb.Queries) (gendb.Organization, error) {
			created, err := create(t, "Acme")(q)
			return created, errors.Join(err, io.ErrUnexpectedEOF)
		},
		"conflict": func(q *gendb.Queries) (gendb.Organization, error) {
			_, err := create(t, "Acme")(q)
			if err != nil {
				return gendb.Organization{}, err
			}
			return create(t, "Acme")(q)
		},
		"panic": func(q *gendb.Queries) (gendb.Organization, error) {
			_, err := create(t, "Acme")(q)
			panic(err)
		},
	}
	for name, effect := range failing {
		func() {
			defer func() { _ = recover() }()
			if result, err := store.Idempotent(t.Context(), s, &key, effect); err == nil || result != (gendb.Organization{}) {
				t.Errorf("%s: result %v, error %v", name, result, err)
			}
		}()
		wantOrganizations(t, s, 1)
	}
	// A result that cannot be encoded rolls the effect back as well.
	if _, err := store.Idempotent(t.Context(), s, &key, func(q *gendb.Queries) (any, error) {
		_, err := create(t, "Acme")(q)
		return func() {}, err
	}); err == nil {
		t.Error("a function was stored as the result")
	}
	if _, err := store.Idempotent(t.Context(), s, &key, create(t, "Acme")); err != nil {
		t.Error(err)
	}
	wantOrganizations(t, s, 2)
}

func TestIdempotentSecretIsNotStored(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	key := newKey(t, s)
	if _, err := store.IdempotentSecret(t.Context(), s, &key, create(t, "Acme")); err != nil {
		t.Fatal(err)
	}
	_, err := store.IdempotentSecret(t.Context(), s, &key, create(t, "Bell"))
	if appErr, ok := errors.AsType[*apperr.Error](err); !ok || appErr.Kind != apperr.Conflict || appErr.RetryAfter != 0 {
		t.Errorf("repeat: error %v, want a conflict without RetryAfter", err)
	}
	stored, err := s.GetIdempotencyKey(t.Context(), gendb.GetIdempotencyKeyParams{
		OrganizationID: key.OrganizationID, UserID: key.UserID, Scope: key.Scope, Key: key.Key,
	})
	if err != nil || stored.Answer != nil {
		t.Errorf("the stored result is %s (%v), want none", stored.Answer, err)
	}
	key.Hash = []byte("other")
	if _, err := store.IdempotentSecret(t.Context(), s, &key, create(t, "Bell")); !apperr.Is(err, apperr.Unprocessable) {
		t.Errorf("repeat with another body: error %v, want unprocessable", err)
	}
	wantOrganizations(t, s, 2)
}

func TestConcurrentRequestsWithOneKeyHaveOneEffect(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	key := newKey(t, s)
	var effects, replays atomic.Int32
	key.OnReplay = func() { replays.Add(1) }
	var requests sync.WaitGroup
	for range 40 {
		requests.Go(func() {
			result, err := store.Idempotent(t.Context(), s, &key, func(q *gendb.Queries) (json.RawMessage, error) {
				effects.Add(1)
				_, err := create(t, "Acme")(q)
				return json.RawMessage(`{"a": [1, null]}`), err
			})
			if err != nil || len(result) == 0 {
				t.Errorf("result %s, error %v", result, err)
			}
		})
	}
	requests.Wait()
	if effects.Load() != 1 || replays.Load() != 39 {
		t.Errorf("%d effects and %d replays, want 1 and 39", effects.Load(), replays.Load())
	}
	wantOrganizations(t, s, 2)
}

// A repeat that waits while its key is deleted is a new request.
func TestKeyDeletedDuringAClaimIsFree(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	s := open(t, url)
	key := newKey(t, s)
	if _, err := store.Idempotent(t.Context(), s, &key, create(t, "Acme")); err != nil {
		t.Fatal(err)
	}
	other := connect(t, url)
	if _, err := other.Exec(t.Context(), "BEGIN; DELETE FROM idempotency_keys"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		result, err := store.Idempotent(t.Context(), s, &key, create(t, "Bell"))
		if err == nil && result.Name != "Bell" {
			err = errors.New("the result is " + result.Name)
		}
		done <- err
	}()
	for waits := false; !waits; {
		if err := store.Raw(s).QueryRow(t.Context(), isLockAwaited).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := other.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// isLockAwaited selects whether a transaction of this database waits for a lock.
const isLockAwaited = `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`

func TestIdempotentJoinsTheTransactionOfWithTx(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	key := newKey(t, s)
	err := s.WithTx(t.Context(), func(tx *store.Store) error {
		first, err := store.Idempotent(t.Context(), tx, &key, create(t, "Acme"))
		if err != nil {
			return err
		}
		again, err := store.Idempotent(t.Context(), tx, &key, create(t, "Acme"))
		if err != nil || again.ID != first.ID {
			t.Errorf("repeat: %v, %v; want %v", again, err, first)
		}
		return io.ErrUnexpectedEOF
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	wantOrganizations(t, s, 1)
	if _, err := store.Idempotent(t.Context(), s, &key, create(t, "Acme")); err != nil {
		t.Error(err)
	}
}
