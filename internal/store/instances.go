package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// serving is the advisory lock that each process which serves a database shares.
const serving = 0x7061726C65790001 // "parley", and the first of its locks

// Register notes that this process serves the database, and returns how many others do.
// It holds a connection of its own, with which PostgreSQL forgets the note, until
// leave is called.
func (s *Store) Register(ctx context.Context) (others int, leave func(), err error) {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return 0, nil, fmt.Errorf("connect to the database: %w", plain(err))
	}
	leave = func() { _ = conn.Close(context.WithoutCancel(ctx)) } // what it held is gone either way
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock_shared($1)", int64(serving)); err != nil {
		leave()
		return 0, nil, translate(err)
	}
	err = conn.QueryRow(ctx, `
		SELECT count(*) FROM pg_locks
		WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		  AND (classid::bigint << 32) | objid::bigint = $1 AND pid <> pg_backend_pid()`, int64(serving)).Scan(&others)
	if err != nil {
		leave()
		return 0, nil, translate(err)
	}
	return others, leave, nil
}
