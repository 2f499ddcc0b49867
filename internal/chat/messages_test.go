package chat_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/chattest"
)

// overlappingConversations creates conversations of two users that overlap in time. Some messages have the same time.
// It returns the first user's messages, newest first.
func (f fixture) overlappingConversations(t *testing.T, alice, bob auth.Principal) []uuid.UUID {
	t.Helper()
	for i := range 12 {
		caller := alice
		if i%3 == 2 {
			caller = bob
		}
		conversation := f.NewConversation(t, caller)
		for range 1 + i%5 {
			f.Say(t, caller, conversation, "Hello")
		}
		if i == 3 {
			f.NewConversation(t, caller) // without messages
		}
	}
	f.exec(t, `UPDATE message_history SET created_at = timestamptz '2026-01-01' + interval '1 second' * seq`)
	f.exec(t, `UPDATE message_history SET created_at = created_at + interval '1 second' WHERE get_byte(uuid_send(session_id), 15) % 2 = 0`)
	f.exec(t, `UPDATE sessions s SET last_activity = m.created_at FROM message_history m WHERE m.session_id = s.id AND m.seq = s.last_seq`)
	conn := f.connect(t)
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `SELECT m.id FROM message_history m JOIN sessions s ON s.id = m.session_id
		WHERE s.user_id = $1 ORDER BY m.created_at DESC, m.id DESC`, alice.UserID)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func messageIDs(messages []db.Message) []uuid.UUID {
	var ids []uuid.UUID
	for _, message := range messages {
		ids = append(ids, message.ID)
	}
	return ids
}

// The messages of all conversations of a user are paged in the order of time, in both directions.
func TestMessagesOfAllConversationsAreOrdered(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice, staff := f.User(t, "alice"), f.User(t, "staff", auth.Agent)
	want := f.overlappingConversations(t, alice, f.User(t, "bob"))
	for limit := 1; limit <= 7; limit++ {
		get := func(cursor string) ([]uuid.UUID, string, string) {
			page, err := f.Messages(t.Context(), alice, nil, cursor, limit)
			if err != nil {
				t.Fatal(err)
			}
			return messageIDs(page.Messages), page.NextCursor, page.PreviousCursor
		}
		page, next, previous := get("")
		forward := page
		for next != "" {
			page, next, previous = get(next)
			forward = append(forward, page...)
		}
		backward := page
		for previous != "" {
			page, _, previous = get(previous)
			backward = slices.Concat(page, backward)
		}
		if !slices.Equal(forward, want) || !slices.Equal(backward, want) {
			t.Errorf("pages of %d:\n forward  %v\n backward %v\n want     %v", limit, forward, backward, want)
		}
	}
	all, err := f.Messages(t.Context(), staff, nil, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	if total := f.query(t, "SELECT count(*) FROM message_history"); len(all.Messages) != total {
		t.Errorf("the staff reads %d messages, want %d", len(all.Messages), total)
	}
}

// For a user with many conversations, the query scans the organization's messages. It returns the same messages in
// the same order.
func TestScannedMessagesAreOrdered(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.User(t, "alice")
	all := f.overlappingConversations(t, alice, f.User(t, "bob"))
	for from, id := range all {
		at, err := f.Store.GetMessage(t.Context(), f.Organization, id)
		if err != nil {
			t.Fatal(err)
		}
		params := db.ListMessagesBeforeParams{
			OrganizationID: f.Organization, UserID: alice.UserID, CreatedAt: at.Message.CreatedAt, ID: id, ScanLimit: 1000, PageLimit: 4,
		}
		older, err := f.Store.ListMessagesBefore(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		newer, err := f.Store.ListMessagesAfter(t.Context(), db.ListMessagesAfterParams(params))
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(newer)
		got := messageIDs(slices.Concat(newer, []db.Message{at.Message}, older))
		if want := all[max(0, from-4):min(len(all), from+5)]; !slices.Equal(got, want) {
			t.Errorf("around %v: got %v, want %v", id, got, want)
		}
	}
}

// The operator's length limit applies to every way to send a message.
func TestLongMessagesAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.Instance(t, chattest.Config{MaxContent: 10})
	ann := f.User(t, "Ann")
	conversation := f.NewConversation(t, ann)
	for _, content := range []string{strings.Repeat("字", 10), strings.Repeat("字", 11)} {
		message := chat.NewMessage{Content: content}
		_, sendErr := d.Send(t.Context(), ann, conversation, message)
		_, postErr := d.Post(t.Context(), ann, conversation, false, message)
		_, askErr := d.Complete(t.Context(), ann, f.Bot.ID.String(), "", message)
		_, beginErr := d.Begin(t.Context(), ann, nil, &message, nil)
		for _, err := range []error{sendErr, postErr, askErr, beginErr} {
			if isRefused := apperr.Is(err, apperr.TooLarge); isRefused != (content != strings.Repeat("字", 10)) {
				t.Errorf("%q: %v", content, err)
			}
		}
	}
}

// Many long messages that are sent at once are all stored.
func TestLongMessagesAtOnceAreStored(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ann := f.User(t, "Ann")
	conversation := f.NewConversation(t, ann)
	errs := make(chan error, 30)
	for i := range cap(errs) {
		go func() {
			_, err := f.Send(t.Context(), ann, conversation, chat.NewMessage{Content: strings.Repeat(string(rune('一'+i)), chat.MaxContent)})
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if stored := f.CountRows(t, "message_history", conversation); stored != cap(errs) {
		t.Errorf("%d messages are stored, want %d", stored, cap(errs))
	}
}
