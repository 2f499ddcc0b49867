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

func TestATransactionIsStoredWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	two := func(q *gendb.Queries) error {
		for _, name := range []string{"Acme", "Bell"} {
			if _, err := q.CreateOrganization(t.Context(), uuid.New(), name); err != nil {
				return err
			}
		}
		return nil
	}

	// when fn returns an error, it comes back as it is and nothing is stored
	err := s.InTx(t.Context(), func(q *gendb.Queries) error {
		if err := two(q); err != nil {
			return err
		}
		return io.ErrClosedPipe
	})
	if !errors.Is(err, io.ErrClosedPipe) || apperr.KindOf(err) != apperr.Internal {
		t.Errorf("the error became %v", err)
	}
	wantOrganizations(t, s, 0)

	// when fn returns nil, both are stored
	if err := s.InTx(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	wantOrganizations(t, s, 2)

	// when a statement fails, the fault comes back and nothing more is stored
	err = s.InTx(t.Context(), func(q *gendb.Queries) error {
		if _, err := q.CreateOrganization(t.Context(), uuid.New(), "Cray"); err != nil {
			return err
		}
		return two(q)
	})
	if !apperr.Is(err, apperr.Conflict) {
		t.Errorf("the error is %v", err)
	}
	wantOrganizations(t, s, 2)
}

func TestAPanicRollsBack(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
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

func TestADeadlockRunsOneTransactionAgain(t *testing.T) {
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
	bothHaveOne := meeting(2)
	var attempts atomic.Int32
	lockBoth := func(first, second uuid.UUID) error {
		met := false
		return s.InTx(t.Context(), func(q *gendb.Queries) error {
			attempts.Add(1)
			if err := lock(t, q, org, first); err != nil {
				return err
			}
			if !met {
				met = true
				bothHaveOne()
			}
			return lock(t, q, org, second)
		})
	}

	// when both go on to the other's row
	results := make(chan error, 2)
	go func() { results <- lockBoth(users[0], users[1]) }()
	go func() { results <- lockBoth(users[1], users[0]) }()

	// then both succeed, one of them at a further attempt
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := attempts.Load(); n < 3 {
		t.Errorf("there were %d attempts: no deadlock happened", n)
	}
}

func TestATransactionThatAlwaysLosesIsUnavailable(t *testing.T) {
	t.Parallel()
	attempts := 0
	err := dbtest.Open(t).InTx(t.Context(), func(*gendb.Queries) error {
		attempts++
		return &pgconn.PgError{Code: "40001", Message: "could not serialize access"}
	})
	if !apperr.Is(err, apperr.Unavailable) {
		t.Errorf("it is %v", err)
	}
	if attempts < 2 || attempts > 10 {
		t.Errorf("there were %d attempts", attempts)
	}
}

func wantOrganizations(t *testing.T, s *store.Store, want int64) {
	t.Helper()
	got, err := s.CountOrganizations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("there are %d organizations, not %d", got, want)
	}
}

func user(t *testing.T, s *store.Store, org uuid.UUID, name string) uuid.UUID {
	t.Helper()
	made, err := s.UpsertUser(t.Context(), org, uuid.New(), name)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
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
