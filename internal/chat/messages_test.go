package chat_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"parley/gen/db"
	"parley/internal/auth"
)

// A page of all messages that a user may read is the same however much of it is the user's: found in the conversations or
// on the way through the organization's.
func TestOwnMessagesAreListedInTheOrganizationsOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice, bob, staff := f.User(t, "alice"), f.User(t, "bob"), f.User(t, "staff", auth.Agent)
	for i := range 12 {
		who := alice
		if i%3 == 2 {
			who = bob
		}
		conversation := f.NewConversation(t, who)
		for range 1 + i%5 {
			f.Say(t, who, conversation, "Hello")
		}
		if i == 3 {
			f.NewConversation(t, who) // without a message
		}
	}
	// Conversations overlap in time, and messages of several are of one microsecond.
	f.exec(t, `UPDATE message_history SET created_at = timestamptz '2026-01-01' + interval '1 second' * seq`)
	f.exec(t, `UPDATE message_history SET created_at = created_at + interval '1 second' WHERE get_byte(uuid_send(session_id), 15) % 2 = 0`)
	f.exec(t, `UPDATE sessions s SET last_activity = m.created_at FROM message_history m WHERE m.session_id = s.id AND m.seq = s.last_seq`)
	conn := f.connect(t)
	defer conn.Close(t.Context())
	found, err := conn.Query(t.Context(), `SELECT m.id FROM message_history m JOIN sessions s ON s.id = m.session_id
		WHERE s.user_id = $1 ORDER BY m.created_at DESC, m.id DESC`, alice.UserID)
	if err != nil {
		t.Fatal(err)
	}
	own, err := pgx.CollectRows(found, pgx.RowTo[uuid.UUID])
	if err != nil {
		t.Fatal(err)
	}
	for limit := 1; limit <= 7; limit++ {
		var down []uuid.UUID
		var backwards []uuid.UUID
		cursor, last := "", ""
		for {
			page, err := f.Messages(t.Context(), alice, nil, cursor, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, message := range page.Messages {
				down = append(down, message.ID)
			}
			if page.NextCursor == "" {
				last = page.PreviousCursor
				backwards = append(backwards, down[len(down)-len(page.Messages):]...)
				break
			}
			cursor = page.NextCursor
		}
		for last != "" {
			page, err := f.Messages(t.Context(), alice, nil, last, limit)
			if err != nil {
				t.Fatal(err)
			}
			var ids []uuid.UUID
			for _, message := range page.Messages {
				ids = append(ids, message.ID)
			}
			backwards = append(ids, backwards...)
			last = page.PreviousCursor
		}
		if fmt.Sprint(down) != fmt.Sprint(own) || fmt.Sprint(backwards) != fmt.Sprint(own) {
			t.Errorf("in pages of %d:\n down %v\n back %v\n want %v", limit, down, backwards, own)
		}
	}
	// Who has many conversations is read on the way through the organization's messages.
	for from := range own {
		place, err := f.Store.GetMessage(t.Context(), f.Organization, own[from])
		if err != nil {
			t.Fatal(err)
		}
		near := db.ListMessagesBeforeParams{
			OrganizationID: f.Organization, UserID: alice.UserID, CreatedAt: place.Message.CreatedAt, ID: own[from], ScanLimit: 1000, PageLimit: 4,
		}
		older, err := f.Store.ListMessagesBefore(t.Context(), near)
		if err != nil {
			t.Fatal(err)
		}
		newer, err := f.Store.ListMessagesAfter(t.Context(), db.ListMessagesAfterParams(near))
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(newer)
		want := own[max(0, from-4):min(len(own), from+5)]
		var got []uuid.UUID
		for _, message := range slices.Concat(newer, []db.Message{place.Message}, older) {
			got = append(got, message.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("around %v: %v, want %v", own[from], got, want)
		}
	}
	all, err := f.Messages(t.Context(), staff, nil, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	if total := f.query(t, "SELECT count(*) FROM message_history"); len(all.Messages) != total {
		t.Errorf("the staff reads %d messages of %d", len(all.Messages), total)
	}
}
