package dbtest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"parley/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestEachTestHasItsOwnMigratedDatabase(t *testing.T) {
	t.Parallel()
	const insert = "INSERT INTO organizations (id, name) VALUES (gen_random_uuid(), 'Acme')"
	const count = "SELECT count(*) FROM organizations"
	for range 3 {
		conn := connect(t, dbtest.URL(t))
		if _, err := conn.Exec(t.Context(), insert); err != nil {
			t.Fatal(err)
		}
		var rows int
		if err := conn.QueryRow(t.Context(), count).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		if rows != 1 {
			t.Errorf("a fresh database has %d organizations after one was made", rows)
		}
	}
}

func TestAnEmptyDatabaseHasNoTables(t *testing.T) {
	t.Parallel()
	var tables int
	err := connect(t, dbtest.Empty(t)).QueryRow(t.Context(),
		"SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables)
	if err != nil {
		t.Fatal(err)
	}
	if tables != 0 {
		t.Errorf("there are %d", tables)
	}
}

func TestTheDatabaseIsGoneAfterTheTest(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("a test", func(t *testing.T) {
		s := dbtest.Open(t)
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		url = dbtest.URL(t)
		connect(t, url)
	})
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		conn.Close(t.Context())
		t.Error("it is still there")
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	// Left open on purpose: the end of the test has to cut it.
	return conn
}

func BenchmarkOpen(b *testing.B) {
	dbtest.Open(b)
	for b.Loop() {
		dbtest.Open(b)
	}
}
