package faq_test

import (
	"testing"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/dbtest"
	"parley/internal/faq"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// fixture is an organization in a new database, whose chatbots use the FAQ engine.
type fixture struct {
	faqs *faq.FAQs
	bots *bot.Bots
	org  uuid.UUID
}

func newFixture(t testing.TB) fixture {
	t.Helper()
	s := dbtest.Open(t)
	bots := bot.New(s, bot.Engines{bot.EngineFAQ: faq.NewEngine(s)})
	f := fixture{faqs: faq.New(s, bots), bots: bots, org: uuid.Must(uuid.NewV7())}
	if _, err := s.CreateOrganization(t.Context(), f.org, "ours"); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f fixture) createBot(t testing.TB, name string) db.Bot {
	t.Helper()
	created, err := f.bots.Create(t.Context(), f.org, bot.NewBot{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func (f fixture) createFAQ(t *testing.T, owner db.Bot, question, answer string) db.Faq {
	t.Helper()
	created, err := f.faqs.Create(t.Context(), f.org, owner.Slug, faq.NewFAQ{Question: question, Answer: answer})
	if err != nil {
		t.Fatal(err)
	}
	return created
}

// ask returns the answer to a question and the text of the reply.
func (f fixture) ask(t *testing.T, owner db.Bot, text string) (answer bot.Answer, reply string) {
	t.Helper()
	answer, err := f.bots.Respond(t.Context(), bot.Question{Bot: owner, Text: text}, func(delta string) error {
		reply += delta
		return nil
	})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return answer, reply
}

func mustBe(t *testing.T, err error, kind apperr.Kind) {
	t.Helper()
	if !apperr.Is(err, kind) {
		t.Errorf("got error %v, want kind %s", err, kind)
	}
}
