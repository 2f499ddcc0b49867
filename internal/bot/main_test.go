package bot_test

import (
	"testing"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/dbtest"
	"parley/internal/store"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// open returns the chatbots of a new database, with the scripted engine, and an organization.
func open(t testing.TB) (*bot.Bots, uuid.UUID) {
	t.Helper()
	s := dbtest.Open(t)
	return bot.New(s, scripted), newOrganization(t, s, "ours")
}

var scripted = bot.Engines{bot.EngineScripted: bot.Scripted{}}

func newOrganization(t testing.TB, s *store.Store, name string) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	if _, err := s.CreateOrganization(t.Context(), id, name); err != nil {
		t.Fatal(err)
	}
	return id
}

func create(t *testing.T, b *bot.Bots, org uuid.UUID, n bot.NewBot) db.Bot {
	t.Helper()
	created, err := b.Create(t.Context(), org, n)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func mustBe(t *testing.T, err error, kind apperr.Kind) {
	t.Helper()
	if !apperr.Is(err, kind) {
		t.Errorf("got error %v, want kind %s", err, kind)
	}
}
