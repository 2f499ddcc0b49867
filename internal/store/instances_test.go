package store_test

import (
	"testing"
	"time"

	"parley/internal/dbtest"
	"parley/internal/store"
)

func TestRegisterCountsOtherInstances(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	elsewhere := dbtest.Open(t)
	register := func(s *store.Store, want int) func() {
		t.Helper()
		poll := time.NewTicker(5 * time.Millisecond) // PostgreSQL notices a closed connection with a delay
		defer poll.Stop()
		for {
			others, unregister, err := s.Register(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if others == want {
				t.Cleanup(unregister)
				return unregister
			}
			unregister()
			select {
			case <-poll.C:
			case <-t.Context().Done():
				t.Fatalf("%d other instances, want %d", others, want)
			}
		}
	}
	first, second := open(t, url), open(t, url)
	register(elsewhere, 0)
	unregister := register(first, 0)
	register(second, 1)
	register(first, 2)
	unregister()
	register(second, 2)
	register(elsewhere, 1)
}
