package chat_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"parley/internal/chat"
	"parley/internal/chattest"
)

// A plan is kept on its connection: one that reads the whole of a table, because that is
// still small, would read the whole of what it has grown to. So what grows with each message
// is found through its indexes from the first one on.
func TestWhatGrowsIsFoundThroughItsIndexes(t *testing.T) {
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
	// From now on PostgreSQL knows how small they are.
	if _, err := admin.Exec(t.Context(), "ANALYZE"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		exchange()
	}
	f.Close(t.Context())
	f.Store.Close()
	chattest.Eventually(t, "its connections have ended, and told all that they did", func() bool {
		var count int
		err := admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'parley'").Scan(&count)
		if err != nil {
			t.Fatal(err)
		}
		return count == 0
	})

	growing := []string{"faq_terms", "message_history", "runs", "sessions"}
	var read, readWhole []string
	err = admin.QueryRow(t.Context(), `
		SELECT array_agg(relname ORDER BY relname) FILTER (WHERE idx_scan > 0 OR seq_scan > 0),
		       array_agg(relname ORDER BY relname) FILTER (WHERE seq_scan > 0)
		FROM pg_stat_user_tables WHERE relname = ANY ($1)`, growing).Scan(&read, &readWhole)
	if err != nil || !slices.Equal(read, growing) || len(readWhole) > 0 {
		t.Errorf("read was %v, the whole of it %v: %v", read, readWhole, err)
	}
}
