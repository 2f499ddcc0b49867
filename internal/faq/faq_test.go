package faq_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/faq"
)

func TestAnEntryIsKeptAsText(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "Support")

	made, err := f.faqs.Create(t.Context(), f.org, owner.Slug, faq.NewFAQ{
		Question: " Where? ", Answer: "<p>Here &amp; there.</p>", Labels: []string{"a", " b ", "a", ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	if made.Question != "Where?" || made.Answer != "Here & there." || !slices.Equal(made.Labels, []string{"a", "b"}) {
		t.Errorf("made %+v", made)
	}
	changed, err := f.faqs.Update(t.Context(), f.org, owner.ID.String(), made.ID.String(), faq.Change{Question: new("Where exactly?")})
	if err != nil {
		t.Fatal(err)
	}
	if changed.Question != "Where exactly?" || changed.Answer != made.Answer || !slices.Equal(changed.Labels, made.Labels) {
		t.Errorf("changed to %+v", changed)
	}
	if found, err := f.faqs.Get(t.Context(), f.org, owner.Slug, made.ID.String()); err != nil || found.Question != changed.Question {
		t.Errorf("found %+v, %v", found, err)
	}
	if err := f.faqs.Delete(t.Context(), f.org, owner.Slug, made.ID.String()); err != nil {
		t.Fatal(err)
	}
	mustBe(t, f.faqs.Delete(t.Context(), f.org, owner.Slug, made.ID.String()), apperr.NotFound)
}

func TestAnEntryMustHoldSomethingAndNotTooMuch(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "Support")
	for name, n := range map[string]faq.NewFAQ{
		"blank question":   {Question: " \x00", Answer: "a"},
		"answer of markup": {Question: "q", Answer: "<p> </p><script>x</script>"},
		"long question":    {Question: strings.Repeat("問", 2001), Answer: "a"},
		"long answer":      {Question: "q", Answer: strings.Repeat("a", 32769)},
		"long label":       {Question: "q", Answer: "a", Labels: []string{strings.Repeat("a", 101)}},
	} {
		if _, err := f.faqs.Create(t.Context(), f.org, owner.Slug, n); !apperr.Is(err, apperr.InvalidRequest) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	made, err := f.faqs.Create(t.Context(), f.org, owner.Slug, faq.NewFAQ{
		Question: strings.Repeat("問", 2000), Answer: strings.Repeat("a\x00", 32768/2),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.faqs.Update(t.Context(), f.org, owner.Slug, made.ID.String(), faq.Change{Answer: new("<br>")})
	mustBe(t, err, apperr.InvalidRequest)
}

func TestAnEntryBelongsToItsBot(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner, other := f.createBot(t, "Support"), f.createBot(t, "Other")
	entry := f.createFAQ(t, owner, "Where?", "Here.")

	for _, id := range []string{entry.ID.String(), uuid.NewString(), "nonsense", ""} {
		_, err := f.faqs.Get(t.Context(), f.org, other.Slug, id)
		mustBe(t, err, apperr.NotFound)
		_, err = f.faqs.Update(t.Context(), f.org, other.Slug, id, faq.Change{Answer: new("x")})
		mustBe(t, err, apperr.NotFound)
		mustBe(t, f.faqs.Delete(t.Context(), f.org, other.Slug, id), apperr.NotFound)
	}
	if answer, _ := f.ask(t, other, "Where?"); len(answer.Citations) > 0 {
		t.Error("a bot answers out of another's entries")
	}
	if found, total, err := f.faqs.List(t.Context(), f.org, other.Slug, 1, 10); err != nil || total != 0 || len(found) != 0 {
		t.Errorf("listed %v, %d, %v", found, total, err)
	}
}

func TestAnEntryIsFoundByItsNewQuestionOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "Support")
	entry := f.createFAQ(t, owner, "Where is the museum?", "In the park.")

	_, err := f.faqs.Update(t.Context(), f.org, owner.Slug, entry.ID.String(), faq.Change{Question: new("When does the theatre open?")})
	if err != nil {
		t.Fatal(err)
	}

	if answer, _ := f.ask(t, owner, "museum"); len(answer.Citations) > 0 {
		t.Error("it is found by its old question")
	}
	if answer, _ := f.ask(t, owner, "theatre"); len(answer.Citations) == 0 {
		t.Error("it is not found by its new question")
	}
}
