package store_test

import (
	"sync"
	"testing"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/dbtest"
	"parley/internal/store"
)

// Reports of one organization leave room for another one's. Too many waiting reports are refused, for the organization
// that makes them only.
func TestReportsOfOneOrganizationDoNotBlockAnother(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	loud, quiet := uuid.UUID{1}, uuid.UUID{2}
	hold, started := make(chan struct{}), make(chan struct{}, 100)
	var reports sync.WaitGroup
	refused := make(chan error, 100)
	for range 100 {
		reports.Go(func() {
			err := s.Report(t.Context(), loud, func(*store.Store) error {
				started <- struct{}{}
				<-hold
				return nil
			})
			if err != nil {
				refused <- err
			}
		})
	}
	<-started
	for range 80 { // one runs, and 16 wait
		if err := <-refused; !apperr.Is(err, apperr.Unavailable) {
			t.Errorf("refused with %v", err)
		}
	}
	err := s.Report(t.Context(), quiet, func(s *store.Store) error {
		var timeout string
		if err := store.Raw(s).QueryRow(t.Context(), "SHOW statement_timeout").Scan(&timeout); err != nil || timeout != "10s" {
			t.Errorf("statements of reports time out after %q: %v", timeout, err)
		}
		return nil
	})
	if err != nil {
		t.Errorf("the report of another organization: %v", err)
	}
	if len(started) != 0 {
		t.Errorf("%d more reports of one organization run at the same time", len(started))
	}
	close(hold)
	reports.Wait()
}

// All pools together have the number of connections that the URL allows.
func TestPoolsTogetherHaveTheConnectionsOfTheURL(t *testing.T) {
	t.Parallel()
	s := open(t, dbtest.URL(t)+"&pool_max_conns=40")
	all := s.PoolStats().MaxConns() + store.PoolOfReports(s).MaxConns() + 2
	if all != 40 {
		t.Errorf("all pools have %d connections", all)
	}
}
