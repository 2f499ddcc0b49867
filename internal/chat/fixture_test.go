package chat_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/chattest"
	"parley/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// fixture extends chattest.Fixture for the tests of this package.
type fixture struct{ *chattest.Fixture }

func newFixture(t *testing.T) fixture {
	t.Helper()
	return fixture{chattest.New(t)}
}

// get returns a conversation.
func (f fixture) get(t *testing.T, caller auth.Principal, conversation string) chat.Conversation {
	t.Helper()
	found, err := f.Get(t.Context(), caller, conversation)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// contents returns the messages of a conversation, whose seqs must be consecutive.
func (f fixture) contents(t *testing.T, caller auth.Principal, conversation string) []string {
	t.Helper()
	return contentsOf(t, f.Domain, caller, conversation, 100)
}

// contentsOf reads a conversation on an instance. Pages must have at most the given number of messages.
func contentsOf(t *testing.T, d *chattest.Domain, caller auth.Principal, conversation string, most int) []string {
	t.Helper()
	var all []string
	for {
		before := len(all)
		_, hasMore, err := d.StoredHistory(t.Context(), caller, conversation, chat.Range{AfterSeq: new(int64(before)), Limit: 100}, func(message chat.StoredMessage) error {
			if message.Seq != int64(len(all)+1) {
				t.Fatalf("seq %d follows %d", message.Seq, len(all))
			}
			all = append(all, string(message.Content))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(all)-before > most {
			t.Fatalf("a page has %d messages, want at most %d", len(all)-before, most)
		}
		if !hasMore {
			return all
		}
	}
}

// query executes a statement that returns a number.
func (f fixture) query(t *testing.T, statement string, args ...any) (number int) {
	t.Helper()
	conn := f.connect(t)
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), statement, args...).Scan(&number); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return number
}

// exec executes a statement directly, for changes that no operation makes.
func (f fixture) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	conn := f.connect(t)
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (f fixture) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), f.URL)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
