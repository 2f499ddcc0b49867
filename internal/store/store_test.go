package store_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	gendb "parley/gen/db"
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

func TestPingTellsWhetherTheDatabaseAnswers(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ping(ended); err == nil {
		t.Error("it answers a caller that has left")
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
