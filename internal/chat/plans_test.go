package chat_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"parley/internal/chat"
	"parley/internal/chattest"
)

// Connections cache plans. A sequential scan that was planned for a small table would still be used after the table
// has grown. So growing tables must be read by index from the first message on.
func TestGrowingTablesAreReadByIndex(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ann := f.User(t, "Ann")
	exchange := func() {
		t.Helper()
		sent, err := f.Begin(t.Context(), ann, nil, &chat.NewMessage{Content: "hello"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		chattest.AwaitOutcome(t, sent.Reply)
		f.contents(t, ann, sent.ConversationID.String())
	}
	exchange()
	admin, err := pgx.Connect(t.Context(), f.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	// Now PostgreSQL has statistics of the small tables.
	if _, err := admin.Exec(t.Context(), "ANALYZE"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		exchange()
	}
	f.Close(t.Context())
	f.Store.Close()
	chattest.Eventually(t, "the connections have closed and reported their statistics", func() bool {
		var count int
		err := admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'parley'").Scan(&count)
		if err != nil {
			t.Fatal(err)
		}
		return count == 0
	})

	growing := []string{"faq_terms", "message_history", "runs", "sessions"}
	var read, sequential []string
	err = admin.QueryRow(t.Context(), `
		SELECT array_agg(relname ORDER BY relname) FILTER (WHERE idx_scan > 0 OR seq_scan > 0),
		       array_agg(relname ORDER BY relname) FILTER (WHERE seq_scan > 0)
		FROM pg_stat_user_tables WHERE relname = ANY ($1)`, growing).Scan(&read, &sequential)
	if err != nil || !slices.Equal(read, growing) || len(sequential) > 0 {
		t.Errorf("read %v, sequentially %v, %v, want %v and none", read, sequential, err, growing)
	}
}
