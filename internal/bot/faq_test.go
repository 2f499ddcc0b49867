package bot_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/bot"
)

func TestAnEntryIsKeptAsText(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	owner := create(t, b, org, bot.NewBot{Name: "Support"})

	made, err := b.CreateFAQ(t.Context(), org, owner.Slug, bot.NewFAQ{
		Question: " Where? ", Answer: "<p>Here &amp; there.</p>", Labels: []string{"a", " b ", "a", ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	if made.Question != "Where?" || made.Answer != "Here & there." || !slices.Equal(made.Labels, []string{"a", "b"}) {
		t.Errorf("made %+v", made)
	}
	changed, err := b.UpdateFAQ(t.Context(), org, owner.ID.String(), made.ID.String(), bot.FAQChange{Question: ptr("Where exactly?")})
	if err != nil {
		t.Fatal(err)
	}
	if changed.Question != "Where exactly?" || changed.Answer != made.Answer || !slices.Equal(changed.Labels, made.Labels) {
		t.Errorf("changed to %+v", changed)
	}
	if found, err := b.GetFAQ(t.Context(), org, owner.Slug, made.ID.String()); err != nil || found.Question != changed.Question {
		t.Errorf("found %+v, %v", found, err)
	}
	if err := b.DeleteFAQ(t.Context(), org, owner.Slug, made.ID.String()); err != nil {
		t.Fatal(err)
	}
	mustBe(t, b.DeleteFAQ(t.Context(), org, owner.Slug, made.ID.String()), apperr.NotFound)
}

func TestAnEntryMustHoldSomethingAndNotTooMuch(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	owner := create(t, b, org, bot.NewBot{Name: "Support"})
	for name, n := range map[string]bot.NewFAQ{
		"blank question":   {Question: " \x00", Answer: "a"},
		"answer of markup": {Question: "q", Answer: "<p> </p><script>x</script>"},
		"long question":    {Question: strings.Repeat("問", 2001), Answer: "a"},
		"long answer":      {Question: "q", Answer: strings.Repeat("a", 32769)},
		"long label":       {Question: "q", Answer: "a", Labels: []string{strings.Repeat("a", 101)}},
	} {
		if _, err := b.CreateFAQ(t.Context(), org, owner.Slug, n); !apperr.Is(err, apperr.InvalidRequest) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	made, err := b.CreateFAQ(t.Context(), org, owner.Slug, bot.NewFAQ{
		Question: strings.Repeat("問", 2000), Answer: strings.Repeat("a\x00", 32768/2),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.UpdateFAQ(t.Context(), org, owner.Slug, made.ID.String(), bot.FAQChange{Answer: ptr("<br>")})
	mustBe(t, err, apperr.InvalidRequest)
}

func TestAnEntryBelongsToItsBot(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	owner, other := create(t, b, org, bot.NewBot{Name: "Support"}), create(t, b, org, bot.NewBot{Name: "Other"})
	entry := addFAQ(t, b, owner, "Where?", "Here.")

	for _, id := range []string{entry.ID.String(), uuid.NewString(), "nonsense", ""} {
		_, err := b.GetFAQ(t.Context(), org, other.Slug, id)
		mustBe(t, err, apperr.NotFound)
		_, err = b.UpdateFAQ(t.Context(), org, other.Slug, id, bot.FAQChange{Answer: ptr("x")})
		mustBe(t, err, apperr.NotFound)
		mustBe(t, b.DeleteFAQ(t.Context(), org, other.Slug, id), apperr.NotFound)
	}
	if answer, _ := ask(t, b, other, "Where?"); len(answer.Citations) > 0 {
		t.Error("a bot answers out of another's entries")
	}
	if found, total, err := b.ListFAQs(t.Context(), org, other.Slug, 1, 10); err != nil || total != 0 || len(found) != 0 {
		t.Errorf("listed %v, %d, %v", found, total, err)
	}
}

func TestAnEntryIsFoundByItsNewQuestionOnly(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	owner := create(t, b, org, bot.NewBot{Name: "Support"})
	entry := addFAQ(t, b, owner, "Where is the museum?", "In the park.")

	_, err := b.UpdateFAQ(t.Context(), org, owner.Slug, entry.ID.String(), bot.FAQChange{Question: ptr("When does the theatre open?")})
	if err != nil {
		t.Fatal(err)
	}

	if answer, _ := ask(t, b, owner, "museum"); len(answer.Citations) > 0 {
		t.Error("it is found by its old question")
	}
	if answer, _ := ask(t, b, owner, "theatre"); len(answer.Citations) == 0 {
		t.Error("it is not found by its new question")
	}
}
