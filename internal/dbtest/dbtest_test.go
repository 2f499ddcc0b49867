package dbtest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"parley/internal/dbtest"
)

func TestEveryURLIsAFreshMigratedDatabase(t *testing.T) {
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
			t.Errorf("a fresh database has %d organizations after one insert", rows)
		}
	}
}

func TestEmptyDatabaseHasNoTables(t *testing.T) {
	t.Parallel()
	var tables int
	err := connect(t, dbtest.Empty(t)).QueryRow(t.Context(),
		"SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables)
	if err != nil {
		t.Fatal(err)
	}
	if tables != 0 {
		t.Errorf("%d tables, want 0", tables)
	}
}

func TestDatabaseIsDroppedAfterTheTest(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("subtest", func(t *testing.T) {
		s := dbtest.Open(t)
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		url = dbtest.URL(t)
		connect(t, url)
	})
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		conn.Close(t.Context())
		t.Error("the database still exists")
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn // the end of the test must terminate it
}

func BenchmarkOpen(b *testing.B) {
	dbtest.Open(b)
	for b.Loop() {
		dbtest.Open(b)
	}
}
