package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	gendb "parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/fair"
)

const (
	// reportTimeout bounds each statement of a report.
	reportTimeout = "10s"
	// maxReportsWaiting is how many reports of an organization can wait for a connection, and
	// maxReportWait for how long.
	maxReportsWaiting = 16
	maxReportWait     = 10 * time.Second
	// exportConnections are the connections for exports, which take turns of their own.
	exportConnections = 1
	// poolFraction of all connections are for reports.
	poolFraction = 8
)

// reports has a small pool of connections for queries that read many rows, so that they neither take
// all connections nor, on a small machine, all processors.
type reports struct {
	pool  *pgxpool.Pool
	turns *fair.Semaphore
}

// openReports opens the pool of reports, which takes its connections from those of config.
func openReports(ctx context.Context, config *pgxpool.Config) (*reports, error) {
	turns := max(config.MaxConns/poolFraction, 2)
	own := config.Copy()
	own.MaxConns, own.MinConns, own.MinIdleConns = turns+exportConnections, 0, 0
	setSettings(own.ConnConfig, map[string]string{"statement_timeout": reportTimeout})
	pool, err := newPool(ctx, own)
	if err != nil {
		return nil, fmt.Errorf("open the connections of reports: %w", err)
	}
	config.MaxConns -= own.MaxConns
	return &reports{pool: pool, turns: fair.New(fair.Limits{
		Size: int64(turns), Share: int64(turns / 2), Waiting: maxReportsWaiting, Wait: maxReportWait,
	})}, nil
}

// Report runs fn with a Store for queries that read many rows. Few reports run at the same time, at
// most half of them for one organization, and organizations take turns. Report fails as Unavailable when
// too many reports of the organization wait, and a query of fn fails as Timeout after ten seconds. fn
// must not keep its Store.
func (s *Store) Report(ctx context.Context, organization uuid.UUID, fn func(*Store) error) error {
	if s.within != nil {
		return fn(s)
	}
	release, err := s.reports.turns.Acquire(ctx, organization, 1)
	if errors.Is(err, fair.ErrFull) {
		return &apperr.Error{Kind: apperr.Unavailable, Message: "Too many reports of your organization are in progress. Retry later.", RetryAfter: 2 * time.Second, Err: err}
	}
	if err != nil {
		return err
	}
	defer release()
	return fn(s.ForExports())
}

// ForExports returns a Store that uses the connections of Report without waiting for a turn. It is for
// callers that take turns of their own, one at a time.
func (s *Store) ForExports() *Store {
	if s.within != nil {
		return s
	}
	own := *s
	own.pool = s.reports.pool
	own.Queries = gendb.New(translator{on: own.pool, retries: maxRetries})
	return &own
}
