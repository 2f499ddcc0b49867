package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// searchIndexes are those over what messages say, whoever has made them.
const searchIndexes = `SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
	FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
	WHERE i.indrelid = 'message_history'::regclass AND a.amname = 'gin'`

// index is one by its name.
type index struct{ Name, Definition string }

func listSearchIndexes(ctx context.Context, conn *pgx.Conn) ([]index, error) {
	rows, err := conn.Query(ctx, searchIndexes)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[index])
}

// dropSearchIndexes drops them for the time of the seeding, in which they would cost
// more than they do when they are built at once; it returns how to build them.
func dropSearchIndexes(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	found, err := listSearchIndexes(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("look for search indexes: %w", err)
	}
	var definitions []string
	for _, one := range found {
		if _, err := conn.Exec(ctx, "DROP INDEX "+one.Name); err != nil {
			return nil, fmt.Errorf("drop a search index: %w", err)
		}
		definitions = append(definitions, one.Definition)
	}
	_, err = conn.Exec(ctx, "SET maintenance_work_mem = '512MB'")
	return definitions, err
}

// awaitCalm waits until no index is being built, or left half built, and nothing is
// asked of the database: a server may build some after its start, or count what there
// is, while it serves.
func awaitCalm(ctx context.Context, conn *pgx.Conn) error {
	const calm = 15 // times in a row, since the next one may be about to begin
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for times := 0; times < calm; times++ {
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
			return fmt.Errorf("wait until the database is calm: %w", err)
		}
		if isBusy {
			times = 0
		}
	}
	return nil
}
