package store_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	gendb "parley/gen/db"
	"parley/internal/dbtest"
	"parley/internal/store"
)

// What is planned once is so for itself alone: what follows on its connection is planned as
// ever, and however it ends, the connection is given back.
func TestWhatIsPlannedOnceChangesNothingElse(t *testing.T) {
	t.Parallel()
	s := open(t, dbtest.URL(t))
	once, ever := store.RawPlannedOnce(s), store.Raw(s)
	mode := func(on gendb.DBTX) string {
		t.Helper()
		rows, err := on.Query(t.Context(), "SELECT current_setting('plan_cache_mode') WHERE $1::boolean", true)
		if err != nil {
			t.Fatal(err)
		}
		found, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for range 40 { // more than there are connections
		if got := mode(once); got != "force_generic_plan" {
			t.Fatalf("it is planned with %s", got)
		}
		if got := mode(ever); got != "auto" {
			t.Fatalf("what follows is planned with %s", got)
		}
		rows, err := once.Query(t.Context(), "SELECT 1 / $1::integer", 0)
		if err == nil {
			for rows.Next() {
				t.Error("a division by zero has a result")
			}
			err = rows.Err()
		}
		if err == nil {
			t.Fatal("a division by zero is no error")
		}
		if rows, err = once.Query(t.Context(), "SELECT n FROM generate_series(1, $1::integer) n", 100_000); err != nil {
			t.Fatal(err)
		}
		rows.Next()
		rows.Close() // in its middle
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.PoolStats().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are not given back", n)
	}
}
