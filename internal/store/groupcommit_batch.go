package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	gendb "parley/gen/db"
	"parley/internal/apperr"
)

const (
	// batchLockTimeout is how long a statement of a batch waits for a row lock before it is
	// isolated.
	batchLockTimeout = "200ms"
	// retryLockTimeout replaces batchLockTimeout once a statement of the batch has timed out: all
	// locked sessions were isolated then, and a new lock is often held by the same transaction.
	retryLockTimeout = "20ms"
	// batchTime bounds a batch transaction: a batch that hangs delays all others.
	batchTime = 10 * time.Second
	// maxBatchAttempts is how often a batch is retried without the statements that were isolated.
	maxBatchAttempts = 16
)

// commitBatch commits a batch, without the statements that must be isolated. Every statement of the
// batch is finished, isolated or queued again when it returns.
func (g *groupCommit) commitBatch(batch []*statement) {
	slices.SortStableFunc(batch, func(a, b *statement) int { return a.session.compare(b.session) })
	ctx, cancel := context.WithTimeout(context.Background(), batchTime)
	defer cancel()
	for attempt := range maxBatchAttempts {
		lockTimeout := "" // the connection's setting
		if attempt > 0 {
			lockTimeout = retryLockTimeout
		}
		results, failed, err := commit(ctx, g.pool, batch, lockTimeout)
		if err == nil {
			g.finishBatch(batch, results)
			return
		}
		if !isStatementError(err) {
			for _, s := range batch {
				s.finish(inDoubt(err))
			}
			return
		}
		if batch = g.isolate(batch, g.blockedSessions(ctx, batch, failed, err)); len(batch) == 0 {
			return
		}
	}
	g.requeue(batch)
}

func (g *groupCommit) finishBatch(batch []*statement, results []error) {
	g.stats.commits.Add(1)
	g.stats.grouped.Add(int64(len(batch)))
	for i, s := range batch {
		s.batchSize = len(batch)
		s.finish(translate(results[i]))
	}
}

// requeue puts statements that did not cause the failures back to the front of the queue.
func (g *groupCommit) requeue(batch []*statement) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range batch {
		g.markWaiting(s)
	}
	g.queue = append(batch, g.queue...)
}

// blockedSessions returns the sessions whose statements prevent the batch from being committed:
// that of the failed statement and, after a lock timeout, every other session that is locked.
// Isolating the locked sessions together avoids one failed attempt of the whole batch for each.
// When the failed statement is unknown it returns all sessions.
func (g *groupCommit) blockedSessions(ctx context.Context, batch []*statement, failed *statement, err error) map[SessionKey]bool {
	blocked := make(map[SessionKey]bool)
	if failed == nil {
		for _, s := range batch {
			blocked[s.session] = true
		}
		return blocked
	}
	blocked[failed.session] = true
	if !isLockTimeout(err) {
		return blocked
	}
	var organizations, sessions []uuid.UUID
	for _, s := range batch {
		organizations = append(organizations, s.session.OrganizationID)
		sessions = append(sessions, s.session.SessionID)
	}
	// The query locks rows but changes nothing, so its commit need not reach the disk. If it fails,
	// the next attempt fails too or finds the locked sessions one by one.
	locked, _ := gendb.New(withSetting{g.pool, "SET LOCAL synchronous_commit = off"}).ListLockedSessions(ctx, organizations, sessions)
	for _, session := range locked {
		blocked[SessionKey{OrganizationID: session.OrganizationID, SessionID: session.ID}] = true
	}
	return blocked
}

// commit runs statements in one transaction, in one round trip. A nil error means that it is
// committed: results then has, for each statement, nil or pgx.ErrNoRows. Otherwise failed is the
// statement that failed, or nil when none did. With an error for which isStatementError returns
// true nothing was committed; any other error leaves the commit in doubt. An empty lockTimeout is
// the connection's setting.
func commit(ctx context.Context, pool *pgxpool.Pool, batch []*statement, lockTimeout string) (results []error, failed *statement, err error) {
	var pipeline pgx.Batch
	if lockTimeout != "" {
		pipeline.Queue("SELECT set_config('lock_timeout', $1, true)", lockTimeout)
	}
	for _, s := range batch {
		pipeline.Queue(s.sql, s.args...)
	}
	responses := pool.SendBatch(ctx, &pipeline)
	results = make([]error, len(batch))
	if lockTimeout != "" {
		_, _ = responses.Exec() // an error aborts the statements after it too
	}
	for i, s := range batch {
		err = responses.QueryRow().Scan(s.dest...)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			failed = s
			break
		}
		results[i] = err
	}
	commitErr := responses.Close() // only Close reports the outcome of the commit
	if failed == nil {
		err = commitErr
	}
	return results, failed, err
}

// isStatementError reports whether err is PostgreSQL's error for a statement, which rolled the
// transaction back. Any other error is one of the connection.
func isStatementError(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.SeverityUnlocalized == "ERROR"
	}
	_, wasNotSent := errors.AsType[pgx.ErrPreprocessingBatch](err)
	return wasNotSent
}

// inDoubt returns the error of a statement whose connection was lost: its transaction may or may
// not have been committed.
func inDoubt(err error) error {
	if appErr, ok := errors.AsType[*apperr.Error](translate(err)); ok {
		return appErr
	}
	return unavailable(err)
}
