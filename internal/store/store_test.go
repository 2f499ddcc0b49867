package store_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	gendb "parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/dbtest"
	"parley/internal/store"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestConcurrentOpensMigrateOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.Empty(t)
	const programs = 3
	opened := make(chan error, programs)
	for range programs {
		go func() {
			s, err := store.Open(t.Context(), url)
			if err == nil {
				_, err = s.CountOrganizations(t.Context())
				s.Close()
			}
			opened <- err
		}()
	}
	for range programs {
		if err := <-opened; err != nil {
			t.Error(err)
		}
	}
}

func TestOpenKeepsExistingData(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	first := open(t, url)
	organization(t, first, "Acme")
	if n, err := open(t, url).CountOrganizations(t.Context()); err != nil || n != 1 {
		t.Errorf("%d organizations, %v; want 1", n, err)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"malformed URL":    "postgres://db:none/",
		"missing database": dbtest.URL(t) + "&database=none",
	} {
		if s, err := store.Open(t.Context(), url); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSessionSettings(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	for setting, want := range map[string]string{
		"timezone": "UTC", "statement_timeout": "30s", "lock_timeout": "10s", "application_name": "parley",
	} {
		var got string
		if err := store.Raw(s).QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s is %s, want %s", setting, got, want)
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ready(ended); err == nil {
		t.Error("no error with a canceled context")
	}
}

// A primary that becomes a standby answers queries but accepts no writes.
func TestReadOnlyDatabaseIsNotReady(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	s, admin := open(t, url), connect(t, url)
	setReadOnly := func(setting string) {
		t.Helper()
		_, err := admin.Exec(t.Context(), "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = "+setting+"', current_database()); END $$")
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}

	// when the connections end and new ones reach a standby
	setReadOnly("on")
	if _, err := admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
		t.Fatal(err)
	}
	_ = s.Ready(t.Context()) // finds terminated connections
	session := store.SessionKey{OrganizationID: uuid.New(), SessionID: uuid.New()}
	for name, q := range map[string]*gendb.Queries{"regular": s.Queries, "group commit": s.GroupCommit(session)} {
		var isUnavailable bool
		for range 3 { // an attempt may find a terminated connection
			_, err := q.CreateOrganization(t.Context(), uuid.New(), name)
			if isUnavailable = apperr.Is(err, apperr.Unavailable); !isUnavailable {
				break
			}
		}
		if !isUnavailable {
			t.Errorf("%s: the write did not fail with unavailable", name)
		}
	}
	if err := s.Ready(t.Context()); !apperr.Is(err, apperr.Unavailable) {
		t.Errorf("error %v, want unavailable", err)
	}
	if _, err := s.CountOrganizations(t.Context()); err != nil {
		t.Errorf("read: %v", err)
	}

	// and when new connections reach a primary again
	setReadOnly("off")
	_ = s.Ready(t.Context()) // closes the connections to the standby
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	for name, q := range map[string]*gendb.Queries{"regular": s.Queries, "group commit": s.GroupCommit(session)} {
		if _, err := q.CreateOrganization(t.Context(), uuid.New(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func open(t *testing.T, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func organization(t *testing.T, s *store.Store, name string) gendb.Organization {
	t.Helper()
	created, err := s.CreateOrganization(t.Context(), uuid.New(), name)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

// connect opens a connection that bypasses the store, as another program would.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn // closed when the test's database is dropped
}

// barrier returns a function that blocks until n goroutines have called it.
func barrier(n int) func() {
	var all sync.WaitGroup
	all.Add(n)
	return func() {
		all.Done()
		all.Wait()
	}
}
