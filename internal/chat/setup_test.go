package chat_test

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/bottest"
	"parley/internal/chat"
	"parley/internal/dbtest"
	"parley/internal/shortcuts"
	"parley/internal/store"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// house is an organization with a default bot, on a database that is the test's
// own.
type house struct {
	*chat.Chat
	url          string
	store        *store.Store
	bots         *bot.Bots
	organization uuid.UUID
	bot          db.Bot
}

func newHouse(t *testing.T) *house {
	t.Helper()
	return newHouseWith(t, shortcuts.All())
}

func newHouseWith(t *testing.T, taken shortcuts.Set) *house {
	t.Helper()
	h := &house{url: dbtest.URL(t)}
	var err error
	if h.store, err = store.Open(t.Context(), h.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.store.Close)
	h.bots = bottest.New(h.store, nil)
	h.Chat = chat.New(chat.Config{Store: h.store, Bots: h.bots, Log: slog.New(slog.DiscardHandler), VisitTTL: time.Minute, Shortcuts: taken})
	h.Start()
	t.Cleanup(func() { h.Close(t.Context()) })
	return h.furnished(t, "Acme")
}

// neighbour is another organization of the same service.
func (h *house) neighbour(t *testing.T) *house {
	t.Helper()
	other := *h
	return other.furnished(t, "Neighbour")
}

func (h *house) furnished(t *testing.T, name string) *house {
	t.Helper()
	made, err := h.store.CreateOrganization(t.Context(), id(), name)
	if err != nil {
		t.Fatal(err)
	}
	h.organization = made.ID
	if h.bot, err = h.bots.Create(t.Context(), made.ID, bot.NewBot{Name: "Parley", IsDefault: true}); err != nil {
		t.Fatal(err)
	}
	return h
}

// user is somebody of the organization, who may converse and what the scopes allow.
func (h *house) user(t *testing.T, name string, scopes ...auth.Scope) auth.Principal {
	t.Helper()
	user, err := h.store.UpsertUser(t.Context(), h.organization, id(), name)
	if err != nil {
		t.Fatal(err)
	}
	return auth.Principal{
		OrganizationID: h.organization,
		UserID:         user.ID,
		UserName:       name,
		Scopes:         append([]auth.Scope{auth.Chat}, scopes...),
	}
}

// conversation begins one that the bot stays out of.
func (h *house) conversation(t *testing.T, who auth.Principal) string {
	t.Helper()
	begun, err := h.Begin(t.Context(), who, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	conversation := begun.ConversationID.String()
	if _, err := h.Update(t.Context(), who, conversation, chat.Change{AutoReply: new(false)}); err != nil {
		t.Fatal(err)
	}
	return conversation
}

func (h *house) say(t *testing.T, who auth.Principal, conversation, content string) {
	t.Helper()
	if _, err := h.Send(t.Context(), who, conversation, chat.NewMessage{Content: content}); err != nil {
		t.Fatal(err)
	}
}

// answered waits until the reply to a message is stored.
func answered(t *testing.T, sent chat.Sent) {
	t.Helper()
	at := sent.Reply.Beginning()
	for {
		delta, after, _, outcome, grown := sent.Reply.Next(at)
		if outcome != nil {
			return
		}
		if at = after; delta != "" {
			continue // there may be more, and no signal any more
		}
		select {
		case <-grown:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

func (h *house) webChat(t *testing.T, name string) db.WebChat {
	t.Helper()
	made, err := h.CreateWebChat(t.Context(), h.organization, chat.WebChat{Name: &name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// rows counts what a table holds of a conversation.
func (h *house) rows(t *testing.T, table, conversation string) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), h.url)
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

func id() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// refused wants a fault of that kind.
func refused(t *testing.T, err error, want apperr.Kind) {
	t.Helper()
	if !apperr.Is(err, want) {
		t.Errorf("it is %v, not %s", err, want)
	}
}

// refusedAlike wants faults that a caller cannot tell from each other.
func refusedAlike(t *testing.T, want apperr.Kind, errs ...error) {
	t.Helper()
	var first *apperr.Error
	for _, err := range errs {
		told, ok := errors.AsType[*apperr.Error](err)
		if !ok || told.Kind != want {
			t.Errorf("it is %v, not %s", err, want)
			continue
		}
		if first == nil {
			first = told
		}
		if told.Message != first.Message || !slices.Equal(told.Violations, first.Violations) || told.RetryAfter != first.RetryAfter {
			t.Errorf("one caller reads %q, another one %q", first.Message, told.Message)
		}
	}
}
