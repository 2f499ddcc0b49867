package store_test

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	gendb "parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/dbtest"
	"parley/internal/store"
)

func TestInTxCommitsAllOrNothing(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	createTwo := func(q *gendb.Queries) error {
		for _, name := range []string{"Acme", "Bell"} {
			if _, err := q.CreateOrganization(t.Context(), uuid.New(), name); err != nil {
				return err
			}
		}
		return nil
	}

	// an error of fn is returned unchanged, and nothing is stored
	err := s.InTx(t.Context(), func(q *gendb.Queries) error {
		if err := createTwo(q); err != nil {
			return err
		}
		return io.ErrClosedPipe
	})
	if !errors.Is(err, io.ErrClosedPipe) || apperr.KindOf(err) != apperr.Internal {
		t.Errorf("error %v, want io.ErrClosedPipe", err)
	}
	wantOrganizations(t, s, 0)

	// without an error, both rows are stored
	if err := s.InTx(t.Context(), createTwo); err != nil {
		t.Fatal(err)
	}
	wantOrganizations(t, s, 2)

	// the error of the second statement is translated, and nothing is stored
	err = s.InTx(t.Context(), func(q *gendb.Queries) error {
		if _, err := q.CreateOrganization(t.Context(), uuid.New(), "Cray"); err != nil {
			return err
		}
		return createTwo(q)
	})
	if !apperr.Is(err, apperr.Conflict) {
		t.Errorf("error %v, want a conflict", err)
	}
	wantOrganizations(t, s, 2)
}

func TestInTxRollsBackAfterAPanic(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = s.InTx(t.Context(), func(q *gendb.Queries) error {
			if _, err := q.CreateOrganization(t.Context(), uuid.New(), "Acme"); err != nil {
				return err
			}
			panic("in the middle")
		})
	}()
	wantOrganizations(t, s, 0)
}

func TestInTxRetriesAfterADeadlock(t *testing.T) {
	t.Parallel()
	// given two transactions that lock two rows in opposite order
	url := dbtest.URL(t)
	_, err := connect(t, url).Exec(t.Context(),
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''10ms''', current_database()); END $$`)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, url)
	org := organization(t, s, "Acme").ID
	users := []uuid.UUID{user(t, s, org, "a"), user(t, s, org, "b")}
	bothLocked := barrier(2)
	var attempts atomic.Int32
	lockBoth := func(first, second uuid.UUID) error {
		waited := false
		return s.InTx(t.Context(), func(q *gendb.Queries) error {
			attempts.Add(1)
			if err := lock(t, q, org, first); err != nil {
				return err
			}
			if !waited {
				waited = true
				bothLocked()
			}
			return lock(t, q, org, second)
		})
	}

	// when each locks the other's row
	results := make(chan error, 2)
	go func() { results <- lockBoth(users[0], users[1]) }()
	go func() { results <- lockBoth(users[1], users[0]) }()

	// then both succeed, one of them after a retry
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := attempts.Load(); n < 3 {
		t.Errorf("%d attempts, want at least 3: there was no deadlock", n)
	}
}

func TestInTxGivesUpAfterRepeatedLostRaces(t *testing.T) {
	t.Parallel()
	attempts := 0
	err := dbtest.Open(t).InTx(t.Context(), func(*gendb.Queries) error {
		attempts++
		return &pgconn.PgError{Code: "40001", Message: "could not serialize access"}
	})
	if !apperr.Is(err, apperr.Unavailable) {
		t.Errorf("error %v, want unavailable", err)
	}
	if attempts < 2 || attempts > 10 {
		t.Errorf("%d attempts, want 2 to 10", attempts)
	}
}

func wantOrganizations(t *testing.T, s *store.Store, want int64) {
	t.Helper()
	got, err := s.CountOrganizations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("there are %d organizations, want %d", got, want)
	}
}

func user(t *testing.T, s *store.Store, org uuid.UUID, name string) uuid.UUID {
	t.Helper()
	created, err := s.UpsertUser(t.Context(), org, uuid.New(), name)
	if err != nil {
		t.Fatal(err)
	}
	return created.ID
}

// lock locks the user's row until the transaction ends.
func lock(t *testing.T, q *gendb.Queries, org, id uuid.UUID) error {
	t.Helper()
	u, err := q.GetUser(t.Context(), org, id)
	if err != nil {
		return err
	}
	_, err = q.UpsertUser(t.Context(), org, uuid.New(), u.Name)
	return err
}
