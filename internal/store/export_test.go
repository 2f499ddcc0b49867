package store

import gendb "parley/gen/db"

// Raw runs statements of a test's own as the generated queries run theirs.
func Raw(s *Store) gendb.DBTX { return translator{on: s.pool, retries: maxRetries} }

// RawPlannedOnce runs them as the queries of PlannedOnce run.
func RawPlannedOnce(s *Store) gendb.DBTX {
	return translator{on: plannedOnce{s.pool}, retries: maxRetries}
}
