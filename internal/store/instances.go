package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// instanceLock is the advisory lock that every instance on a database shares.
const instanceLock = 0x7061726C65790001 // "parley", lock 1

// Register registers this process as an instance on the database and returns how many others are
// registered. The registration is an advisory lock on a connection of its own: it ends with
// unregister, or with the process.
func (s *Store) Register(ctx context.Context) (others int, unregister func(), err error) {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return 0, nil, fmt.Errorf("connect to the database: %w", shorten(err))
	}
	unregister = func() { _ = conn.Close(context.WithoutCancel(ctx)) } // an error closes the connection too
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock_shared($1)", int64(instanceLock)); err != nil {
		unregister()
		return 0, nil, translate(err)
	}
	err = conn.QueryRow(ctx, `
		SELECT count(*) FROM pg_locks
		WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		  AND (classid::bigint << 32) | objid::bigint = $1 AND pid <> pg_backend_pid()`, int64(instanceLock)).Scan(&others)
	if err != nil {
		unregister()
		return 0, nil, translate(err)
	}
	return others, unregister, nil
}
