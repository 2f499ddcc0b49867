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

// open returns the bots of a fresh database with one organization.
func open(t testing.TB) (*bot.Bots, uuid.UUID) {
	t.Helper()
	s := dbtest.Open(t)
	return bot.New(s), newOrganization(t, s, "ours")
}

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
	made, err := b.Create(t.Context(), org, n)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func addFAQ(t *testing.T, b *bot.Bots, owner db.Bot, question, answer string) db.Faq {
	t.Helper()
	made, err := b.CreateFAQ(t.Context(), owner.OrganizationID, owner.Slug, bot.NewFAQ{Question: question, Answer: answer})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func mustBe(t *testing.T, err error, kind apperr.Kind) {
	t.Helper()
	if !apperr.Is(err, kind) {
		t.Errorf("got %v, want a fault %s", err, kind)
	}
}

func ptr[T any](v T) *T { return &v }
