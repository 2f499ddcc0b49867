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

func TestProgramsThatOpenAnEmptyDatabaseTogetherTakeTurns(t *testing.T) {
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

func TestOpenKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	first := open(t, url)
	organization(t, first, "Acme")
	if n, err := open(t, url).CountOrganizations(t.Context()); err != nil || n != 1 {
		t.Errorf("there are %d organizations (%v)", n, err)
	}
}

func TestOpenTellsWhyItCannot(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"no address":  "postgres://db:none/",
		"no database": dbtest.URL(t) + "&database=none",
	} {
		if s, err := store.Open(t.Context(), url); err == nil {
			s.Close()
			t.Errorf("%s: it opened", name)
		}
	}
}

func TestConnectionsAreInUTCAndBounded(t *testing.T) {
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
			t.Errorf("%s is %s, not %s", setting, got, want)
		}
	}
}

func TestReadyTellsWhetherTheDatabaseAnswers(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ready(ended); err == nil {
		t.Error("it answers a caller that has left")
	}
}

// A primary that has become a standby answers, and takes nothing. Once another one is in
// its place, or it is the primary again, all is as before.
func TestADatabaseThatOnlyReadsIsNotReady(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	s, admin := open(t, url), connect(t, url)
	became := func(setting string) {
		t.Helper()
		_, err := admin.Exec(t.Context(), "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = "+setting+"', current_database()); END $$")
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}

	// when the connections that there are end, and the next ones lead to a standby
	became("on")
	if _, err := admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
		t.Fatal(err)
	}
	_ = s.Ready(t.Context()) // finds the ends of some
	place := store.SessionKey{OrganizationID: uuid.New(), SessionID: uuid.New()}
	for name, q := range map[string]*gendb.Queries{"by itself": s.Queries, "among others": s.GroupCommit(place)} {
		var isTold bool
		for range 3 { // a connection that was cut is no answer either
			_, err := q.CreateOrganization(t.Context(), uuid.New(), name)
			if isTold = apperr.Is(err, apperr.Unavailable); !isTold {
				break
			}
		}
		if !isTold {
			t.Errorf("%s it was written, or failed otherwise", name)
		}
	}
	if err := s.Ready(t.Context()); !apperr.Is(err, apperr.Unavailable) {
		t.Errorf("it is ready to read only: %v", err)
	}
	if _, err := s.CountOrganizations(t.Context()); err != nil {
		t.Errorf("nothing can be read: %v", err)
	}

	// and when the next ones lead to a primary again
	became("off")
	_ = s.Ready(t.Context()) // leaves the standby
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	for name, q := range map[string]*gendb.Queries{"by itself": s.Queries, "among others": s.GroupCommit(place)} {
		if _, err := q.CreateOrganization(t.Context(), uuid.New(), name); err != nil {
			t.Errorf("%s nothing is written: %v", name, err)
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
	made, err := s.CreateOrganization(t.Context(), uuid.New(), name)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// connect opens a connection past the store, for what another program does.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn // cut when the test's database is dropped
}

// meeting lets several goroutines wait for each other, once.
func meeting(of int) func() {
	var all sync.WaitGroup
	all.Add(of)
	return func() {
		all.Done()
		all.Wait()
	}
}
