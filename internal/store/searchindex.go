package store

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// indexing is the advisory lock of the process that makes the search index or drops it.
const indexing = 0x7061726C65790002 // "parley", and the second of its locks

// createSearchIndex lets what is new wait in a list, to be put in its place many messages
// at a time: that is a third of the work of doing so with each message. MaintainSearchIndex
// empties the list every other second, since each search reads it from end to end, and the
// send that found it full would have to empty it, and be seconds late.
const createSearchIndex = `CREATE INDEX CONCURRENTLY message_history_by_content ON message_history
	USING gin (organization_id, searchable(content) gin_trgm_ops) WITH (fastupdate = on, gin_pending_list_limit = 16384)`

const (
	emptyInterval    = 2 * time.Second  // between two times that the list is emptied
	turnInterval     = time.Second      // between two looks whether another process is gone
	progressInterval = 30 * time.Second // between two lines in the log
	patience         = time.Minute      // before what has failed is tried again
	goodbye          = 5 * time.Second  // for PostgreSQL to hear that a build is given up
)

// MaintainSearchIndex has the index over the contents of all messages built, or dropped, as
// wanted, and looks after it until ctx ends, when a build is given up. It holds nobody up:
// messages are sent and read meanwhile. Of several processes one does it, and another when
// that one is gone.
//
// What fails is logged, and tried again a minute later, since everything works without the
// index, only slower.
func (s *Store) MaintainSearchIndex(ctx context.Context, log *slog.Logger, isWanted bool) {
	for {
		err := s.withIndexing(ctx, func(conn *pgx.Conn) error {
			if err := s.setSearchIndex(ctx, conn, log, isWanted); err != nil || !isWanted {
				return err
			}
			return emptyPendingList(ctx, conn)
		})
		if err == nil || ctx.Err() != nil {
			return
		}
		log.Error("the search index cannot be kept as wanted; a search may be slow", "isWanted", isWanted, "error", err, "tryAgainIn", patience)
		select {
		case <-time.After(patience):
		case <-ctx.Done():
			return
		}
	}
}

// SetSearchIndex builds the index or drops it, as MaintainSearchIndex does, and returns when
// that is done.
func (s *Store) SetSearchIndex(ctx context.Context, log *slog.Logger, isWanted bool) error {
	return s.withIndexing(ctx, func(conn *pgx.Conn) error { return s.setSearchIndex(ctx, conn, log, isWanted) })
}

// withIndexing runs fn with a connection on which this process alone may build the index
// and drop it, and may take its time.
func (s *Store) withIndexing(ctx context.Context, fn func(conn *pgx.Conn) error) error {
	config := s.patient.Copy()
	// A build takes as long as it takes, and waits for all transactions before it.
	config.RuntimeParams["statement_timeout"] = "0"
	config.RuntimeParams["lock_timeout"] = "0"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", plain(err))
	}
	defer part(ctx, conn)
	if err := awaitTurn(ctx, conn); err != nil {
		return err
	}
	return fn(conn)
}

// setSearchIndex leaves an index alone that is as wanted. A build that was cut off has left
// one that PostgreSQL keeps up and never reads: that is dropped, and built anew.
func (s *Store) setSearchIndex(ctx context.Context, conn *pgx.Conn, log *slog.Logger, isWanted bool) error {
	var exists, isValid bool
	err := conn.QueryRow(ctx, `
		SELECT count(*) > 0, coalesce(bool_and(indisvalid), false)
		FROM pg_index WHERE indexrelid = to_regclass('message_history_by_content')`).Scan(&exists, &isValid)
	if err != nil {
		return translate(err)
	}
	isAsWanted := isWanted && isValid
	if exists && !isAsWanted {
		log.Info("dropping the search index", "isValid", isValid)
		if _, err := conn.Exec(ctx, "DROP INDEX CONCURRENTLY message_history_by_content"); err != nil {
			return fmt.Errorf("drop the search index: %w", translate(err))
		}
	}
	if !isWanted || isValid {
		return nil
	}
	return s.buildSearchIndex(ctx, conn, log)
}

// emptyPendingList empties the list of what is not yet in its place, again and again, until
// ctx ends or it cannot.
func emptyPendingList(ctx context.Context, conn *pgx.Conn) error {
	tick := time.NewTicker(emptyInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if _, err := conn.Exec(ctx, "SELECT gin_clean_pending_list('message_history_by_content')"); err != nil {
			return fmt.Errorf("empty the search index's list: %w", translate(err))
		}
	}
}

// buildSearchIndex builds it, and has the planner know what is in it.
func (s *Store) buildSearchIndex(ctx context.Context, conn *pgx.Conn, log *slog.Logger) error {
	began := time.Now()
	log.Info("building the search index; until it is there, messages are searched without it")
	built := make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		s.tellProgress(ctx, conn.PgConn().PID(), log, built)
	}()
	defer func() { close(built); <-told }()
	for _, step := range []string{
		// The operator classes may be in a schema of their own.
		`SELECT set_config('search_path', current_setting('search_path') || ', ' || string_agg(extnamespace::regnamespace::text, ', '), false)
		 FROM pg_extension WHERE extname IN ('pg_trgm', 'btree_gin')`,
		createSearchIndex,
		"ANALYZE message_history",
	} {
		if _, err := conn.Exec(ctx, step); err != nil {
			return fmt.Errorf("build the search index: %w", translate(err))
		}
	}
	log.Info("the search index is there", "took", time.Since(began))
	return nil
}

// tellProgress logs how far the build is by which that connection is kept busy, until it
// is built.
func (s *Store) tellProgress(ctx context.Context, pid uint32, log *slog.Logger, built <-chan struct{}) {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		select {
		case <-built:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var phase string
		var done, total int64
		err := s.pool.QueryRow(ctx, "SELECT phase, blocks_done, blocks_total FROM pg_stat_progress_create_index WHERE pid = $1", int32(pid)).
			Scan(&phase, &done, &total)
		if err == nil { // else there is nothing to tell
			log.Info("building the search index", "phase", phase, "blocks", done, "ofBlocks", total)
		}
	}
}

// awaitTurn takes the lock of the index, which the connection keeps. It asks again and
// again: one that waited inside PostgreSQL would be a transaction for which the build of
// the other process waits in turn.
func awaitTurn(ctx context.Context, conn *pgx.Conn) error {
	for {
		var isOurs bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(indexing)).Scan(&isOurs); err != nil {
			return translate(err)
		}
		if isOurs {
			return nil
		}
		select {
		case <-time.After(turnInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// part closes the connection, and waits until PostgreSQL has been told to give up what it
// was doing there.
func part(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	_ = conn.Close(ctx) // what it held is gone either way
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}
