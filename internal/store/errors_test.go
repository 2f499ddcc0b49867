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

const (
	unavailable = "The database is unavailable. Retry later."
	notStorable = "The request contains a value that cannot be stored."
)

func TestDatabaseErrorsAreTranslated(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		sql     string
		want    apperr.Kind
		message string
	}{
		"duplicate name": {
			"INSERT INTO organizations (id, name) SELECT gen_random_uuid(), 'Acme' FROM generate_series(1, 2)",
			apperr.Conflict, "An organization with this name already exists.",
		},
		"duplicate id": {
			"INSERT INTO organizations (id, name) SELECT '019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01', n::text FROM generate_series(1, 2) n",
			apperr.Internal, "",
		},
		"missing reference": {
			"INSERT INTO users (organization_id, id, name) VALUES (gen_random_uuid(), gen_random_uuid(), 'a')",
			apperr.NotFound, "A resource that the request refers to no longer exists.",
		},
		"malformed id":          {"SELECT 'x'::uuid", apperr.InvalidRequest, notStorable},
		"number out of range":   {"SELECT 9999999999::integer", apperr.InvalidRequest, notStorable},
		"index entry too large": {insertLongName, apperr.InvalidRequest, notStorable},
		"statement timeout":     {"SET statement_timeout = '10ms'; SELECT pg_sleep(60)", apperr.Timeout, "The database query timed out."},
		"terminated connection": {"SELECT pg_terminate_backend(pg_backend_pid())", apperr.Unavailable, unavailable},
		"syntax error":          {"SELEKT", apperr.Internal, ""},
		"not-null constraint":   {"INSERT INTO organizations (id) VALUES (gen_random_uuid())", apperr.Internal, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := store.Raw(dbtest.Open(t)).Exec(t.Context(), c.sql)
			expectError(t, err, c.want, c.message)
		})
	}
}

// insertLongName inserts a name that is too long for an index entry and cannot be compressed.
const insertLongName = `INSERT INTO organizations (id, name)
	SELECT gen_random_uuid(), string_agg(md5(n::text), '') FROM generate_series(1, 1000) n`

func TestMissingRowIsNotFound(t *testing.T) {
	t.Parallel()
	_, err := dbtest.Open(t).GetBot(t.Context(), uuid.New(), uuid.New())
	expectError(t, err, apperr.NotFound, "The resource does not exist.")
}

func TestTextWithNULIsInvalid(t *testing.T) {
	t.Parallel()
	_, err := dbtest.Open(t).CreateOrganization(t.Context(), uuid.New(), "Ac\x00me")
	expectError(t, err, apperr.InvalidRequest, notStorable)
}

func TestErrorBetweenRowsIsTranslated(t *testing.T) {
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
	expectError(t, rows.Err(), apperr.InvalidRequest, notStorable)
}

func TestLockTimeoutIsUnavailable(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	s := open(t, url)
	organization(t, s, "Acme")
	other := connect(t, url)
	if _, err := other.Exec(t.Context(), "BEGIN; SELECT FROM organizations FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	_, err := store.Raw(s).Exec(t.Context(), "SELECT FROM organizations FOR UPDATE NOWAIT")
	expectError(t, err, apperr.Unavailable, unavailable)
	if e, ok := errors.AsType[*apperr.Error](err); ok && e.RetryAfter <= 0 {
		t.Error("the error has no RetryAfter")
	}
}

// A request that cannot get a connection can be retried, whatever the reason.
func TestRefusedConnectionIsUnavailable(t *testing.T) {
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
	for range 2 { // the first attempt finds a terminated connection
		_, err := store.Raw(s).Exec(t.Context(), "SELECT")
		expectError(t, err, apperr.Unavailable, unavailable)
	}
}

func TestCanceledContextIsNotTranslated(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.CountOrganizations(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if _, ok := errors.AsType[*apperr.Error](err); ok {
		t.Errorf("the error was translated: %v", err)
	}
}

// expectError checks an error's kind and its message for the caller. An internal error must not be an apperr.Error,
// and must keep PostgreSQL's error for the log.
func expectError(t *testing.T, err error, want apperr.Kind, message string) {
	t.Helper()
	if !apperr.Is(err, want) {
		t.Fatalf("error %v, want kind %s", err, want)
	}
	appErr, ok := errors.AsType[*apperr.Error](err)
	if ok != (want != apperr.Internal) {
		t.Errorf("is an apperr.Error: %t: %v", ok, err)
	}
	if ok && appErr.Message != message {
		t.Errorf("the message is %q, want %q", appErr.Message, message)
	}
	if _, ok := errors.AsType[*pgconn.PgError](err); want == apperr.Internal && !ok {
		t.Errorf("PostgreSQL's error is lost: %v", err)
	}
}
