package chat_test

import (
	"fmt"
	"testing"

	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/store"
)

// wantExactCounts compares the totals of lists with naive counting, and returns the number of all
// conversations.
func (f fixture) wantExactCounts(t *testing.T, what string, callers ...auth.Principal) (total int64) {
	t.Helper()
	for _, caller := range callers {
		for _, botRef := range []*string{nil, new(f.Bot.ID.String())} {
			for _, status := range []*string{nil, new("active"), new("archived")} {
				_, got, err := f.List(t.Context(), caller, chat.Filter{BotRef: botRef, Status: status, Limit: 1})
				want := f.query(t, `SELECT count(*) FROM sessions WHERE user_id = $1 AND (last_seq > 0 OR NOT is_implied)
					AND ($2::uuid IS NULL OR bot_id = $2::uuid) AND ($3::text IS NULL OR status = $3)`, caller.UserID, botRef, status)
				if err != nil || got != int64(want) {
					t.Errorf("%s: %s has %d, %v, want %d", what, caller.UserName, got, err, want)
				}
				if botRef == nil && status == nil {
					total += got
				}
			}
		}
	}
	inboxes, _, err := f.Inboxes.List(t.Context(), f.Organization, 10, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, inbox := range inboxes {
		want := f.query(t, "SELECT count(*) FROM sessions WHERE inbox_id = $1 AND staff_unread > 0", inbox.Inbox.ID)
		if inbox.Unread != int64(want) {
			t.Errorf("%s: inbox %s has %d unread, want %d", what, inbox.Inbox.Name, inbox.Unread, want)
		}
	}
	return total
}

const countChanges = "SELECT (SELECT count(*) FROM conversation_counts WHERE is_change) + (SELECT count(*) FROM unread_counts WHERE is_change)"

// compact compacts the counters until nothing is left to compact. The instance may compact them at the same time.
func (f fixture) compact(t *testing.T) {
	t.Helper()
	for f.query(t, countChanges) > 0 {
		if _, err := f.Store.CompactConversationCounts(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Store.CompactUnreadCounts(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
	}
}

// Counters are exact after each change of a conversation, before and after compaction.
func TestCountsAreExactAfterEachChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice, bob, staff := f.User(t, "alice"), f.User(t, "bob"), f.User(t, "staff", auth.Agent)
	check := func(what string, want int64) {
		t.Helper()
		for _, when := range []string{"", ", compacted", ", compacted again"} {
			if got := f.wantExactCounts(t, what+when, alice, bob); got != want {
				t.Errorf("%s%s: got %d conversations, want %d", what, when, got, want)
			}
			f.compact(t)
		}
	}
	var ids []string
	for range 3 {
		ids = append(ids, f.NewConversation(t, alice))
	}
	other := f.NewConversation(t, bob)
	check("created", 4)
	for range 2 {
		f.Say(t, alice, ids[0], "Hello")
		f.Say(t, alice, ids[1], "Hello")
		f.Say(t, bob, other, "Hello")
	}
	check("messages sent", 4)
	f.Say(t, alice, ids[0], "An ordinary message")
	if changes := f.query(t, countChanges); changes != 0 {
		t.Errorf("an ordinary message changed %d counters, want 0", changes)
	}
	if _, err := f.Update(t.Context(), alice, ids[0], chat.Change{Status: new("archived")}); err != nil {
		t.Fatal(err)
	}
	check("archived", 4)
	f.Say(t, alice, ids[0], "Once more")
	check("activated by a message", 4)
	if _, err := f.Update(t.Context(), alice, ids[2], chat.Change{Status: new("archived"), Title: new("Old")}); err != nil {
		t.Fatal(err)
	}
	implied := store.NewID()
	f.exec(t, `INSERT INTO sessions (organization_id, id, user_id, bot_id, inbox_id, contact_id, auto_reply, is_implied)
		SELECT organization_id, $2, user_id, bot_id, inbox_id, contact_id, false, true FROM sessions WHERE id = $1`, ids[2], implied)
	check("implied without a message", 4)
	f.Say(t, alice, implied.String(), "Its first message")
	check("implied with a message", 5)
	f.exec(t, "UPDATE sessions SET staff_unread = 0 WHERE id = $1", ids[1])
	check("read by the staff", 5)
	f.Say(t, staff, ids[1], "Good day")
	check("answered by the staff", 5)
	if err := f.Delete(t.Context(), alice, ids[0]); err != nil {
		t.Fatal(err)
	}
	check("deleted", 4)
	f.exec(t, "DELETE FROM users WHERE id = $1", bob.UserID)
	check("deleted with its user", 3)
	f.exec(t, "DELETE FROM bots WHERE id = $1", f.Bot.ID)
	f.compact(t)
	if left := f.query(t, "SELECT (SELECT coalesce(sum(conversations), 0) FROM conversation_counts) + (SELECT coalesce(sum(conversations), 0) FROM unread_counts)"); left != 0 {
		t.Errorf("without conversations the counters sum to %d, want 0", left)
	}
}

// Concurrent writes and compactions lose no change and count none twice.
func TestCountsAreExactUnderConcurrency(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.User(t, "alice")
	const writers, each = 4, 15
	errs := make(chan error)
	for range writers {
		go func() { errs <- f.writeConversations(t, alice, each) }()
	}
	for range 2 {
		go func() {
			for range 40 {
				if _, err := f.Store.CompactConversationCounts(t.Context(), 3); err != nil {
					errs <- fmt.Errorf("compact counters: %w", err)
					return
				}
			}
			errs <- nil
		}()
	}
	for range writers + 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := f.wantExactCounts(t, "all done", alice); got != writers*each*2/3 {
		t.Errorf("got %d conversations, want %d", got, writers*each*2/3)
	}
}

// writeConversations creates n conversations, deletes every third one, and archives another third.
func (f fixture) writeConversations(t *testing.T, caller auth.Principal, n int) error {
	for i := range n {
		begun, err := f.Begin(t.Context(), caller, nil, nil, nil)
		if err != nil {
			return err
		}
		conversation := begun.ConversationID.String()
		switch i % 3 {
		case 0:
			err = f.Delete(t.Context(), caller, conversation)
		case 1:
			_, err = f.Update(t.Context(), caller, conversation, chat.Change{Status: new("archived")})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
