package store_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	gendb "parley/gen/db"
	"parley/internal/dbtest"
	"parley/internal/store"
)

// The setting is reset after its query, and the connection is released whatever the outcome.
func TestGenericPlanAffectsOnlyItsQuery(t *testing.T) {
	t.Parallel()
	s := open(t, dbtest.URL(t))
	generic, regular := store.RawGenericPlan(s), store.Raw(s)
	planMode := func(on gendb.DBTX) string {
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
	for range 40 { // more than the connections of the pool
		if got := planMode(generic); got != "force_generic_plan" {
			t.Fatalf("the plan mode is %s", got)
		}
		if got := planMode(regular); got != "auto" {
			t.Fatalf("the plan mode of the next query is %s", got)
		}
		rows, err := generic.Query(t.Context(), "SELECT 1 / $1::integer", 0)
		if err == nil {
			for rows.Next() {
				t.Error("a division by zero returned a row")
			}
			err = rows.Err()
		}
		if err == nil {
			t.Fatal("a division by zero returned no error")
		}
		if rows, err = generic.Query(t.Context(), "SELECT n FROM generate_series(1, $1::integer) n", 100_000); err != nil {
			t.Fatal(err)
		}
		rows.Next()
		rows.Close() // before the last row
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.PoolStats().AcquiredConns(); n != 0 {
		t.Errorf("%d connections were not released", n)
	}
}
