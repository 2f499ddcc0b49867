package db_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"parley/db"
	"parley/internal/dbtest"
)

// The migration that adds the counters counts existing conversations once.
func TestMigrationInitializesCounters(t *testing.T) {
	t.Parallel()
	url := dbtest.Empty(t)
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	handle := stdlib.OpenDB(*config)
	t.Cleanup(func() { _ = handle.Close() })
	provider, err := goose.NewProvider(goose.DialectPostgres, handle, db.Migrations)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, url)
	const insertSessions = `INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id, status, is_implied, last_seq, staff_unread)
		SELECT o.id, gen_random_uuid(), o.id, o.id, o.id, o.id, CASE WHEN n % 5 = 0 THEN 'archived' ELSE 'active' END, n % 2 = 0, n % 3, n % 7
		FROM organizations o, generate_series(1, $1::integer) n`
	for _, step := range []struct {
		sql  string
		args []any
	}{
		{"INSERT INTO organizations (id, name) VALUES (gen_random_uuid(), 'one'), (gen_random_uuid(), 'two')", nil},
		{"INSERT INTO users (organization_id, id, name) SELECT id, id, 'user' FROM organizations", nil},
		{"INSERT INTO bots (organization_id, id, slug, name, engine) SELECT id, id, 'bot', 'bot', 'faq' FROM organizations", nil},
		{"INSERT INTO inboxes (organization_id, id, bot_id, name, channel_type) SELECT id, id, id, 'inbox', 'web' FROM organizations", nil},
		{"INSERT INTO contacts (organization_id, id, name) SELECT id, id, 'contact' FROM organizations", nil},
		{insertSessions, []any{100}},
	} {
		if _, err := conn.Exec(t.Context(), step.sql, step.args...); err != nil {
			t.Fatalf("%s: %v", step.sql, err)
		}
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	compare := func(when string) {
		t.Helper()
		counted := query(t, conn, `SELECT organization_id || user_id::text || bot_id || status, sum(conversations)::text FROM conversation_counts GROUP BY 1
			UNION ALL SELECT organization_id || inbox_id::text, sum(conversations)::text FROM unread_counts GROUP BY 1 ORDER BY 1`)
		want := query(t, conn, `SELECT organization_id || user_id::text || bot_id || status, count(*)::text FROM sessions WHERE last_seq > 0 OR NOT is_implied GROUP BY 1
			UNION ALL SELECT organization_id || inbox_id::text, count(*)::text FROM sessions WHERE staff_unread > 0 GROUP BY 1 ORDER BY 1`)
		if len(want) != 6 || fmt.Sprint(counted) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", when, counted, want)
		}
	}
	compare("after the migration")
	if _, err := conn.Exec(t.Context(), insertSessions, 30); err != nil {
		t.Fatal(err)
	}
	compare("after further inserts")
}
