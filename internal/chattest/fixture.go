package chattest

import (
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chat"
	"parley/internal/dbtest"
	"parley/internal/feed"
	"parley/internal/inbox"
	"parley/internal/store"
)

// Fixture is an organization with a default bot, on a started instance.
type Fixture struct {
	*Domain
	URL          string // of the database
	Store        *store.Store
	Bots         *bot.Bots
	Organization uuid.UUID
	Bot          db.Bot
}

// New returns a Fixture, which is closed at the end of the test.
func New(t *testing.T) *Fixture {
	t.Helper()
	f := &Fixture{URL: dbtest.URL(t)}
	var err error
	if f.Store, err = store.Open(t.Context(), f.URL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Store.Close)
	f.Bots = bottest.New(f.Store, nil)
	f.Domain = f.Instance(t, Config{})
	return f.withOrganization(t, "Acme")
}

// Instance starts another instance on the fixture's store.
func (f *Fixture) Instance(t *testing.T, config Config) *Domain {
	t.Helper()
	config.Store, config.Bots = f.Store, f.Bots
	d := NewDomain(config)
	d.Start()
	t.Cleanup(func() { d.Close(t.Context()) })
	return d
}

// OtherOrganization returns another organization on the same instance.
func (f *Fixture) OtherOrganization(t *testing.T) *Fixture {
	t.Helper()
	other := *f
	return other.withOrganization(t, "Other")
}

func (f *Fixture) withOrganization(t *testing.T, name string) *Fixture {
	t.Helper()
	created, err := f.Store.CreateOrganization(t.Context(), store.NewID(), name)
	if err != nil {
		t.Fatal(err)
	}
	f.Organization = created.ID
	if f.Bot, err = f.Bots.Create(t.Context(), created.ID, bot.NewBot{Name: "Parley", IsDefault: true}); err != nil {
		t.Fatal(err)
	}
	return f
}

// User returns a user of the organization with the scope chat and further scopes.
func (f *Fixture) User(t *testing.T, name string, scopes ...auth.Scope) auth.Principal {
	t.Helper()
	user, err := f.Store.UpsertUser(t.Context(), f.Organization, store.NewID(), name)
	if err != nil {
		t.Fatal(err)
	}
	return auth.Principal{
		OrganizationID: f.Organization,
		UserID:         user.ID,
		UserName:       name,
		Scopes:         append([]auth.Scope{auth.Chat}, scopes...),
	}
}

// Say sends a message.
func (f *Fixture) Say(t *testing.T, caller auth.Principal, conversation, content string) {
	t.Helper()
	if _, err := f.Send(t.Context(), caller, conversation, chat.NewMessage{Content: content}); err != nil {
		t.Fatal(err)
	}
}

// WebChat creates a web chat.
func (f *Fixture) WebChat(t *testing.T, name string) db.WebChat {
	t.Helper()
	created, err := f.Inboxes.CreateWebChat(t.Context(), f.Organization, inbox.WebChat{Name: &name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

// CountRows returns the number of rows of a conversation in a table.
func (f *Fixture) CountRows(t *testing.T, table, conversation string) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), f.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var count int
	err = conn.QueryRow(t.Context(), "SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize()+" WHERE session_id = $1", conversation).Scan(&count)
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// NewConversation creates a conversation without auto-reply.
func (d *Domain) NewConversation(t *testing.T, caller auth.Principal) string {
	t.Helper()
	begun, err := d.Begin(t.Context(), caller, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	conversation := begun.ConversationID.String()
	if _, err := d.Update(t.Context(), caller, conversation, chat.Change{AutoReply: new(false)}); err != nil {
		t.Fatal(err)
	}
	return conversation
}

// Visit creates a visit.
func (d *Domain) Visit(t *testing.T) *feed.Watch {
	t.Helper()
	watch, err := d.Visits.Watch(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watch.Close)
	return watch
}
