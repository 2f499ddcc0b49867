package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"parley/internal/apperr"
	"parley/internal/dbtest"
	"parley/internal/store"
)

func TestTheDatabasesErrorsBecomeFaults(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		sql  string
		want apperr.Kind
		says string
	}{
		"a name that is taken": {
			"INSERT INTO organizations (id, name) SELECT gen_random_uuid(), 'Acme' FROM generate_series(1, 2)",
			apperr.Conflict, "There is an organization of this name.",
		},
		"an id that is taken is our mistake": {
			"INSERT INTO organizations (id, name) SELECT '019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01', n::text FROM generate_series(1, 2) n",
			apperr.Internal, "",
		},
		"a reference to nothing": {
			"INSERT INTO users (organization_id, id, name) VALUES (gen_random_uuid(), gen_random_uuid(), 'a')",
			apperr.NotFound, "What the request refers to no longer exists.",
		},
		"no id":                  {"SELECT 'x'::uuid", apperr.InvalidRequest, "The request holds a value that cannot be stored."},
		"a number out of range":  {"SELECT 9999999999::integer", apperr.InvalidRequest, "The request holds a value that cannot be stored."},
		"a value beyond a limit": {longName, apperr.InvalidRequest, "The request holds a value that cannot be stored."},
		"a statement that hangs": {"SET statement_timeout = '10ms'; SELECT pg_sleep(60)", apperr.Timeout, "The database took too long."},
		"a connection that is cut": {
			"SELECT pg_terminate_backend(pg_backend_pid())", apperr.Unavailable, "The database cannot be reached at the moment.",
		},
		"SQL that is none":         {"SELEKT", apperr.Internal, ""},
		"a value that we must not": {"INSERT INTO organizations (id) VALUES (gen_random_uuid())", apperr.Internal, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := store.Raw(dbtest.Open(t)).Exec(t.Context(), c.sql)
			expect(t, err, c.want, c.says)
		})
	}
}

// longName is longer than an entry of an index may be, and cannot be compressed.
const longName = `INSERT INTO organizations (id, name)
	SELECT gen_random_uuid(), string_agg(md5(n::text), '') FROM generate_series(1, 1000) n`

func TestNoRowIsNotFound(t *testing.T) {
	t.Parallel()
	_, err := dbtest.Open(t).GetBot(t.Context(), uuid.New(), uuid.New())
	expect(t, err, apperr.NotFound, "It does not exist.")
}

func TestATextWithNULIsNotStored(t *testing.T) {
	t.Parallel()
	_, err := dbtest.Open(t).CreateOrganization(t.Context(), uuid.New(), "Ac\x00me")
	expect(t, err, apperr.InvalidRequest, "The request holds a value that cannot be stored.")
}

func TestAnErrorAmongTheRowsIsAFault(t *testing.T) {
	t.Parallel()
	rows, err := store.Raw(dbtest.Open(t)).Query(t.Context(), "SELECT 1 / (3 - n) FROM generate_series(1, 5) n")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, rows.Err(), apperr.InvalidRequest, "The request holds a value that cannot be stored.")
}

func TestALockThatIsNotGotIsUnavailable(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	s := open(t, url)
	organization(t, s, "Acme")
	other := connect(t, url)
	if _, err := other.Exec(t.Context(), "BEGIN; SELECT FROM organizations FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	_, err := store.Raw(s).Exec(t.Context(), "SELECT FROM organizations FOR UPDATE NOWAIT")
	expect(t, err, apperr.Unavailable, "The database cannot be reached at the moment.")
	if e, ok := errors.AsType[*apperr.Error](err); ok && e.RetryAfter <= 0 {
		t.Error("it does not say when to try again")
	}
}

// Whatever a connection is refused for, nothing has been done yet and may be tried again.
func TestADatabaseThatTakesNoConnectionsIsUnavailable(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	s := open(t, url)
	administrator := connect(t, dbtest.Empty(t))
	var name string
	if err := store.Raw(s).QueryRow(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS false", name),
		fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'", name),
	} {
		if _, err := administrator.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the first one meets the end of a connection
		_, err := store.Raw(s).Exec(t.Context(), "SELECT")
		expect(t, err, apperr.Unavailable, "The database cannot be reached at the moment.")
	}
}

func TestACallerThatLeftIsNoFault(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.CountOrganizations(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it is %v", err)
	}
	if _, ok := errors.AsType[*apperr.Error](err); ok {
		t.Errorf("it is a fault: %v", err)
	}
}

// expect wants a fault with that sentence, or an internal error that is none and
// still has PostgreSQL's own for the log.
func expect(t *testing.T, err error, want apperr.Kind, says string) {
	t.Helper()
	if !apperr.Is(err, want) {
		t.Fatalf("it is %v, not %s", err, want)
	}
	e, ok := errors.AsType[*apperr.Error](err)
	if ok != (want != apperr.Internal) {
		t.Errorf("is it a fault? %t: %v", ok, err)
	}
	if ok && e.Message != says {
		t.Errorf("the caller reads %q, not %q", e.Message, says)
	}
	if _, ok := errors.AsType[*pgconn.PgError](err); want == apperr.Internal && !ok {
		t.Errorf("the cause is lost: %v", err)
	}
}
