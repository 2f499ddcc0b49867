package store

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// searchIndexLock is the advisory lock of the process that builds, drops or maintains the index.
const searchIndexLock = 0x7061726C65790002 // "parley", lock 2

// createSearchIndex uses a pending list: new entries are appended to it and merged into the index
// many at a time, which costs a third of inserting each. MaintainSearchIndex merges the list every
// two seconds, because each search scans it, and because the insert that fills it would have to
// merge it, which takes seconds.
const createSearchIndex = `CREATE INDEX CONCURRENTLY message_history_by_form ON message_history
	USING gin (organization_id, search_form(content) gin_trgm_ops) WITH (fastupdate = on, gin_pending_list_limit = 16384)`

const (
	mergeInterval    = 2 * time.Second  // between two merges of the pending list
	lockPollInterval = time.Second      // between two attempts to take searchIndexLock
	progressInterval = 30 * time.Second // between two progress lines in the log
	indexRetryDelay  = time.Minute      // after an error
	maxCloseTime     = 5 * time.Second  // for PostgreSQL to cancel a build
)

// MaintainSearchIndex builds or drops the index over message contents, as wanted, and maintains it
// until ctx ends, which cancels a build. Messages can be sent and read meanwhile. Of several
// processes one does the work; another one takes over when it ends.
//
// Errors are logged and retried after a minute: searches work without the index, only slower.
func (s *Store) MaintainSearchIndex(ctx context.Context, log *slog.Logger, isWanted bool) {
	for {
		err := s.withSearchIndexLock(ctx, func(conn *pgx.Conn) error {
			if err := s.setSearchIndex(ctx, conn, log, isWanted); err != nil || !isWanted {
				return err
			}
			return mergePendingList(ctx, conn)
		})
		if err == nil || ctx.Err() != nil {
			return
		}
		log.Error("maintain search index", "wanted", isWanted, "err", err, "retry_in_ms", indexRetryDelay.Milliseconds())
		select {
		case <-time.After(indexRetryDelay):
		case <-ctx.Done():
			return
		}
	}
}

// SetSearchIndex builds or drops the index, as wanted, and returns when that is done.
func (s *Store) SetSearchIndex(ctx context.Context, log *slog.Logger, isWanted bool) error {
	return s.withSearchIndexLock(ctx, func(conn *pgx.Conn) error { return s.setSearchIndex(ctx, conn, log, isWanted) })
}

// withSearchIndexLock runs fn with a connection that holds searchIndexLock and has no statement
// timeout.
func (s *Store) withSearchIndexLock(ctx context.Context, fn func(conn *pgx.Conn) error) error {
	config := s.maintenance.Copy()
	// A build waits for all older transactions and may take hours.
	setSettings(config, map[string]string{"statement_timeout": "0", "lock_timeout": "0"})
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", shorten(err))
	}
	defer closeConn(ctx, conn)
	if err := acquireSearchIndexLock(ctx, conn); err != nil {
		return err
	}
	return fn(conn)
}

// setSearchIndex changes nothing when the index is already as wanted. It rebuilds an invalid index,
// which an interrupted build leaves behind: PostgreSQL updates it and never uses it.
func (s *Store) setSearchIndex(ctx context.Context, conn *pgx.Conn, log *slog.Logger, isWanted bool) error {
	var exists, isValid bool
	err := conn.QueryRow(ctx, `
		SELECT count(*) > 0, coalesce(bool_and(indisvalid), false)
		FROM pg_index WHERE indexrelid = to_regclass('message_history_by_form')`).Scan(&exists, &isValid)
	if err != nil {
		return translate(err)
	}
	if _, err := conn.Exec(ctx, "DROP INDEX CONCURRENTLY IF EXISTS message_history_by_content"); err != nil { // of version 0.1.0
		return fmt.Errorf("drop the search index of an earlier version: %w", translate(err))
	}
	isUpToDate := isWanted && isValid
	if exists && !isUpToDate {
		log.Info("drop search index", "valid", isValid)
		if _, err := conn.Exec(ctx, "DROP INDEX CONCURRENTLY message_history_by_form"); err != nil {
			return fmt.Errorf("drop the search index: %w", translate(err))
		}
	}
	if !isWanted || isValid {
		return nil
	}
	return s.buildSearchIndex(ctx, conn, log)
}

// mergePendingList merges the index's pending list at intervals until ctx ends or a merge fails.
func mergePendingList(ctx context.Context, conn *pgx.Conn) error {
	ticker := time.NewTicker(mergeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if _, err := conn.Exec(ctx, "SELECT gin_clean_pending_list('message_history_by_form')"); err != nil {
			return fmt.Errorf("merge the search index's pending list: %w", translate(err))
		}
	}
}

// buildSearchIndex builds the index and updates the planner's statistics.
func (s *Store) buildSearchIndex(ctx context.Context, conn *pgx.Conn, log *slog.Logger) error {
	start := time.Now()
	log.Info("build search index: searches do not use it until it is complete")
	built := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.logBuildProgress(ctx, conn.PgConn().PID(), log, built)
	}()
	defer func() { close(built); <-stopped }()
	for _, step := range []string{
		// The operator classes may be in another schema.
		`SELECT set_config('search_path', current_setting('search_path') || ', ' || string_agg(extnamespace::regnamespace::text, ', '), false)
		 FROM pg_extension WHERE extname IN ('pg_trgm', 'btree_gin')`,
		createSearchIndex,
		"ANALYZE message_history",
	} {
		if _, err := conn.Exec(ctx, step); err != nil {
			return fmt.Errorf("build the search index: %w", translate(err))
		}
	}
	log.Info("build search index: complete", "duration_ms", time.Since(start).Milliseconds())
	return nil
}

// logBuildProgress logs the progress of the build that runs in the backend pid, until it is built.
func (s *Store) logBuildProgress(ctx context.Context, pid uint32, log *slog.Logger, built <-chan struct{}) {
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	for {
		select {
		case <-built:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var phase string
		var done, total int64
		err := s.pool.QueryRow(ctx, "SELECT phase, blocks_done, blocks_total FROM pg_stat_progress_create_index WHERE pid = $1", int32(pid)).
			Scan(&phase, &done, &total)
		if err == nil { // otherwise the build is not running at the moment
			log.Info("build search index: in progress", "phase", phase, "blocks_done", done, "blocks_total", total)
		}
	}
}

// acquireSearchIndexLock takes searchIndexLock for the connection. It polls, because a connection
// that waits inside PostgreSQL is a transaction for which the build of another process would wait.
func acquireSearchIndexLock(ctx context.Context, conn *pgx.Conn) error {
	for {
		var isAcquired bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(searchIndexLock)).Scan(&isAcquired); err != nil {
			return translate(err)
		}
		if isAcquired {
			return nil
		}
		select {
		case <-time.After(lockPollInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// closeConn closes the connection and waits until PostgreSQL has received the cancellation of the
// statement that runs on it.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxCloseTime)
	defer cancel()
	_ = conn.Close(ctx) // an error closes the connection too
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}
