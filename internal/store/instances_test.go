package store_test

import (
	"testing"
	"time"

	"parley/internal/dbtest"
	"parley/internal/store"
)

// Whoever enters counts the others of its own database that have not left.
func TestProcessesOfOneDatabaseKnowOfEachOther(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	elsewhere := dbtest.Open(t)
	enter := func(s *store.Store, want int) func() {
		t.Helper()
		look := time.NewTicker(5 * time.Millisecond) // PostgreSQL takes a moment to notice who has left
		defer look.Stop()
		for {
			others, leave, err := s.Register(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if others == want {
				t.Cleanup(leave)
				return leave
			}
			leave()
			select {
			case <-look.C:
			case <-t.Context().Done():
				t.Fatalf("%d others, not %d", others, want)
			}
		}
	}
	first, second := open(t, url), open(t, url)
	enter(elsewhere, 0)
	leave := enter(first, 0)
	enter(second, 1)
	enter(first, 2)
	leave()
	enter(second, 2)
	enter(elsewhere, 1)
}
