package faq_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/faq"
)

func TestCreateUpdateAndDelete(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "Support")

	created, err := f.faqs.Create(t.Context(), f.org, owner.Slug, faq.NewFAQ{
		Question: " Where? ", Answer: "<p>Here &amp; there.</p>", Labels: []string{"a", " b ", "a", ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	if created.Question != "Where?" || created.Answer != "Here & there." || !slices.Equal(created.Labels, []string{"a", "b"}) {
		t.Errorf("created %+v", created)
	}
	id := created.ID.String()
	changed, err := f.faqs.Update(t.Context(), f.org, owner.ID.String(), id, faq.Change{Question: new("Where exactly?")})
	if err != nil {
		t.Fatal(err)
	}
	if changed.Question != "Where exactly?" || changed.Answer != created.Answer || !slices.Equal(changed.Labels, created.Labels) {
		t.Errorf("changed to %+v", changed)
	}
	if got, err := f.faqs.Get(t.Context(), f.org, owner.Slug, id); err != nil || got.Question != changed.Question {
		t.Errorf("got %+v, error %v", got, err)
	}
	if err := f.faqs.Delete(t.Context(), f.org, owner.Slug, id); err != nil {
		t.Fatal(err)
	}
	mustBe(t, f.faqs.Delete(t.Context(), f.org, owner.Slug, id), apperr.NotFound)
}

func TestFAQsAreValidated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "Support")
	for name, n := range map[string]faq.NewFAQ{
		"blank question":      {Question: " \x00", Answer: "a"},
		"answer without text": {Question: "q", Answer: "<p> </p><script>x</script>"},
		"long question":       {Question: strings.Repeat("問", 2001), Answer: "a"},
		"long answer":         {Question: "q", Answer: strings.Repeat("a", 32769)},
		"long label":          {Question: "q", Answer: "a", Labels: []string{strings.Repeat("a", 101)}},
	} {
		if _, err := f.faqs.Create(t.Context(), f.org, owner.Slug, n); !apperr.Is(err, apperr.InvalidRequest) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	created, err := f.faqs.Create(t.Context(), f.org, owner.Slug, faq.NewFAQ{
		Question: strings.Repeat("問", 2000), Answer: strings.Repeat("a\x00", 32768/2),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.faqs.Update(t.Context(), f.org, owner.Slug, created.ID.String(), faq.Change{Answer: new("<br>")})
	mustBe(t, err, apperr.InvalidRequest)
}

func TestFAQsBelongToOneChatbot(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner, other := f.createBot(t, "Support"), f.createBot(t, "Other")
	created := f.createFAQ(t, owner, "Where?", "Here.")

	for _, id := range []string{created.ID.String(), uuid.NewString(), "nonsense", ""} {
		_, err := f.faqs.Get(t.Context(), f.org, other.Slug, id)
		mustBe(t, err, apperr.NotFound)
		_, err = f.faqs.Update(t.Context(), f.org, other.Slug, id, faq.Change{Answer: new("x")})
		mustBe(t, err, apperr.NotFound)
		mustBe(t, f.faqs.Delete(t.Context(), f.org, other.Slug, id), apperr.NotFound)
	}
	if answer, _ := f.ask(t, other, "Where?"); len(answer.Citations) > 0 {
		t.Error("a chatbot answers from the FAQs of another")
	}
	if got, total, err := f.faqs.List(t.Context(), f.org, other.Slug, 1, 10); err != nil || total != 0 || len(got) != 0 {
		t.Errorf("got %v, %d, error %v, want no FAQs", got, total, err)
	}
}

func TestChangedQuestionIsIndexedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "Support")
	created := f.createFAQ(t, owner, "Where is the museum?", "In the park.")

	_, err := f.faqs.Update(t.Context(), f.org, owner.Slug, created.ID.String(), faq.Change{Question: new("When does the theatre open?")})
	if err != nil {
		t.Fatal(err)
	}

	if answer, _ := f.ask(t, owner, "museum"); len(answer.Citations) > 0 {
		t.Error("found by its old question")
	}
	if answer, _ := f.ask(t, owner, "theatre"); len(answer.Citations) == 0 {
		t.Error("not found by its new question")
	}
}
