package chat_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/shortcuts"
)

// taking is the domain on the same database with other shortcuts.
func (h *house) taking(taken shortcuts.Set) *chat.Chat {
	return chat.New(chat.Config{Store: h.store, Bots: h.bots, Log: slog.New(slog.DiscardHandler), VisitTTL: time.Minute, Shortcuts: taken})
}

// agree fails the test unless lists tell the same with and without counters, and returns the total of all.
func (h *house) agree(t *testing.T, what string, who ...auth.Principal) (total int64) {
	t.Helper()
	plain, counted := h.taking(shortcuts.Set{}), h.taking(shortcuts.Set{Counts: true})
	for _, user := range who {
		for _, bot := range []*string{nil, new(h.bot.ID.String())} {
			for _, status := range []*string{nil, new("active"), new("archived")} {
				filter := chat.Filter{BotRef: bot, Status: status, Limit: 1}
				_, want, err := plain.List(t.Context(), user, filter)
				if err != nil {
					t.Fatal(err)
				}
				_, got, err := counted.List(t.Context(), user, filter)
				if err != nil || got != want {
					t.Errorf("%s: %s has %d, %v; want %d with %v, %v", what, user.UserName, got, err, want, bot, status)
				}
				if bot == nil && status == nil {
					total += got
				}
			}
		}
	}
	want, _, err := plain.ListInboxes(t.Context(), h.organization, 10, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := counted.ListInboxes(t.Context(), h.organization, 10, 0)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: inboxes %v, %v; want %v", what, got, err, want)
	}
	return total
}

const countChanges = "SELECT (SELECT count(*) FROM conversation_counts WHERE is_change) + (SELECT count(*) FROM unread_counts WHERE is_change)"

// fold folds the counters until no change is left, which another process may be folding.
func (h *house) fold(t *testing.T) {
	t.Helper()
	for h.query(t, countChanges) > 0 {
		if _, err := h.store.CompactConversationCounts(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		if _, err := h.store.CompactUnreadCounts(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
	}
}

// Totals from the counters are those that counting finds, after each thing that can happen to a conversation, folded or not.
func TestTotalsAreExactWhateverHappens(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	alice, bob, staff := h.user(t, "alice"), h.user(t, "bob"), h.user(t, "staff", auth.Agent)
	var ids []string
	check := func(what string, want int64) {
		t.Helper()
		for _, when := range []string{"", ", folded", ", folded again"} {
			if got := h.agree(t, what+when, alice, bob); got != want {
				t.Errorf("%s%s: %d in all, want %d", what, when, got, want)
			}
			h.fold(t)
		}
	}
	for range 3 {
		ids = append(ids, h.conversation(t, alice))
	}
	other := h.conversation(t, bob)
	check("begun", 4)
	for range 2 {
		h.say(t, alice, ids[0], "Hello")
		h.say(t, alice, ids[1], "Hello")
		h.say(t, bob, other, "Hello")
	}
	check("said", 4)
	h.say(t, alice, ids[0], "An ordinary message")
	if changes := h.query(t, countChanges); changes != 0 {
		t.Errorf("an ordinary message has changed %d counters", changes)
	}
	if _, err := h.Update(t.Context(), alice, ids[0], chat.Change{Status: new("archived")}); err != nil {
		t.Fatal(err)
	}
	check("archived", 4)
	h.say(t, alice, ids[0], "Once more")
	check("active by a message", 4)
	if _, err := h.Update(t.Context(), alice, ids[2], chat.Change{Status: new("archived"), Title: new("Old")}); err != nil {
		t.Fatal(err)
	}
	implied := id()
	h.exec(t, `INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id, auto_reply, is_implied)
		SELECT organization_id, $2, user_id, bot_id, inbox_id, contact_id, false, true FROM sessions WHERE id = $1`, ids[2], implied)
	check("implied without a message", 4)
	h.say(t, alice, implied.String(), "Its first message")
	check("implied with a message", 5)
	h.exec(t, "UPDATE sessions SET staff_unread = 0 WHERE id = $1", ids[1])
	check("read by the staff", 5)
	h.say(t, staff, ids[1], "Good day")
	check("answered by the staff", 5)
	if err := h.Delete(t.Context(), alice, ids[0]); err != nil {
		t.Fatal(err)
	}
	check("deleted", 4)
	h.exec(t, "DELETE FROM users WHERE id = $1", bob.UserID)
	check("deleted with its user", 3)
	h.exec(t, "DELETE FROM bots WHERE id = $1", h.bot.ID)
	h.fold(t)
	if left := h.query(t, "SELECT (SELECT coalesce(sum(conversations), 0) FROM conversation_counts) + (SELECT coalesce(sum(conversations), 0) FROM unread_counts)"); left != 0 {
		t.Errorf("without conversations the counters say %d", left)
	}
}

// Whoever writes and whoever folds at the same time neither lose nor double anything, and nobody waits for anybody.
func TestTotalsAreExactWhileTheyAreFolded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	alice := h.user(t, "alice")
	const writers, each = 4, 15
	failures := make(chan error)
	for range writers {
		go func() {
			for i := range each {
				begun, err := h.Begin(t.Context(), alice, nil, nil, nil)
				if err == nil && i%3 == 0 {
					err = h.Delete(t.Context(), alice, begun.ConversationID.String())
				} else if err == nil && i%3 == 1 {
					_, err = h.Update(t.Context(), alice, begun.ConversationID.String(), chat.Change{Status: new("archived")})
				}
				if err != nil {
					failures <- err
					return
				}
			}
			failures <- nil
		}()
	}
	for range 2 {
		go func() {
			for range 40 {
				if _, err := h.store.CompactConversationCounts(t.Context(), 3); err != nil {
					failures <- err
					return
				}
			}
			failures <- nil
		}()
	}
	for range writers + 2 {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	if got := h.agree(t, "all done", alice); got != writers*each*2/3 {
		t.Errorf("%d conversations, want %d", got, writers*each*2/3)
	}
}

// query reads a number with a statement of the test's own.
func (h *house) query(t *testing.T, statement string, args ...any) (number int) {
	t.Helper()
	conn := h.connect(t)
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), statement, args...).Scan(&number); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return number
}

// exec changes what no operation changes.
func (h *house) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	conn := h.connect(t)
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (h *house) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.url)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
