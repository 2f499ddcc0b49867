package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// searchIndexes are the GIN indexes over the contents of messages.
const searchIndexes = `SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
	FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
	WHERE i.indrelid = 'message_history'::regclass AND a.amname = 'gin'`

type index struct{ Name, Definition string }

func listSearchIndexes(ctx context.Context, conn *pgx.Conn) ([]index, error) {
	rows, err := conn.Query(ctx, searchIndexes)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[index])
}

// dropSearchIndexes drops the search indexes while the database is seeded, because building them afterwards is faster
// than maintaining them. It returns their definitions.
func dropSearchIndexes(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	indexes, err := listSearchIndexes(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("list the search indexes: %w", err)
	}
	var definitions []string
	for _, i := range indexes {
		if _, err := conn.Exec(ctx, "DROP INDEX "+i.Name); err != nil {
			return nil, fmt.Errorf("drop a search index: %w", err)
		}
		definitions = append(definitions, i.Definition)
	}
	_, err = conn.Exec(ctx, "SET maintenance_work_mem = '512MB'")
	return definitions, err
}

// awaitIdle waits until every index is valid and no client runs a query. After its start, a server may build indexes
// and count rows in the background.
func awaitIdle(ctx context.Context, conn *pgx.Conn) error {
	const idleSamples = 15 // consecutive checks, because background tasks have pauses
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for idle := 0; idle < idleSamples; idle++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		var isBusy bool
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_progress_create_index)
			OR EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)
			OR EXISTS (SELECT FROM pg_stat_activity WHERE state <> 'idle' AND backend_type = 'client backend' AND pid <> pg_backend_pid())`).Scan(&isBusy)
		if err != nil {
			return fmt.Errorf("wait until the database is idle: %w", err)
		}
		if isBusy {
			idle = 0
		}
	}
	return nil
}
