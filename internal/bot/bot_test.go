package bot_test

import (
	"regexp"
	"testing"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/dbtest"
)

func TestCreateMakesTheInboxAndFillsInWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	b, org := bot.New(s, scripted), newOrganization(t, s, "ours")

	made := create(t, b, org, bot.NewBot{Name: "Crème & Co"})

	if made.Slug != "creme-co" || made.Engine != bot.EngineFAQ || made.UnanswerableReply == "" || made.IsDefault {
		t.Errorf("made %+v", made)
	}
	inbox, err := s.GetAPIInbox(t.Context(), org, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if inbox.Name != made.Name {
		t.Errorf("the inbox is named %q", inbox.Name)
	}
}

func TestASlugIsMadeOfTheName(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	for name, want := range map[string]string{
		"Support":                              `^support$`,
		"It's -- fine":                         `^its-fine$`,
		"客服":                                   `^bot-[0-9a-f]{6}$`,
		"客服 2":                                 `^bot-[0-9a-f]{6}$`,
		"!!!":                                  `^bot-[0-9a-f]{6}$`,
		"019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e00": `^bot-[0-9a-f]{6}$`,
	} {
		if made := create(t, b, org, bot.NewBot{Name: name}); !regexp.MustCompile(want).MatchString(made.Slug) {
			t.Errorf("%q got the slug %q", name, made.Slug)
		}
	}
}

func TestAGivenSlugMustBeFreeAndNoID(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	create(t, b, org, bot.NewBot{Name: "One", Slug: "one"})

	_, err := b.Create(t.Context(), org, bot.NewBot{Name: "Other", Slug: "one"})
	mustBe(t, err, apperr.Conflict)
	_, err = b.Create(t.Context(), org, bot.NewBot{Name: "Other", Slug: uuid.NewString()})
	mustBe(t, err, apperr.InvalidRequest)

	// A slug that is made of a name gives way.
	first := create(t, b, org, bot.NewBot{Name: "Two"})
	second := create(t, b, org, bot.NewBot{Name: "Two"})
	if first.Slug != "two" || !regexp.MustCompile(`^two-[0-9a-f]{6}$`).MatchString(second.Slug) {
		t.Errorf("slugs %q and %q", first.Slug, second.Slug)
	}
}

func TestABotIsFoundByIDAndSlugInItsOrganizationOnly(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	b, org, other := bot.New(s, scripted), newOrganization(t, s, "ours"), newOrganization(t, s, "theirs")
	made := create(t, b, org, bot.NewBot{Name: "Support"})

	for _, ref := range []string{made.ID.String(), made.Slug} {
		if found, err := b.Get(t.Context(), org, ref); err != nil || found.ID != made.ID {
			t.Errorf("%s: got %v, %v", ref, found.ID, err)
		}
		_, err := b.Get(t.Context(), other, ref)
		mustBe(t, err, apperr.NotFound)
		mustBe(t, b.Delete(t.Context(), other, ref), apperr.NotFound)
		_, err = b.Update(t.Context(), other, ref, bot.Change{Name: new("x")})
		mustBe(t, err, apperr.NotFound)
	}
	for _, ref := range []string{"", "no-such", "a\x00b", "Ä", uuid.NewString()} {
		_, err := b.Get(t.Context(), org, ref)
		mustBe(t, err, apperr.NotFound)
	}
}

func TestThereIsOneDefault(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	_, err := b.Default(t.Context(), org)
	mustBe(t, err, apperr.NotFound)

	first := create(t, b, org, bot.NewBot{Name: "First", IsDefault: true})
	second := create(t, b, org, bot.NewBot{Name: "Second", IsDefault: true})
	isDefault := func(want uuid.UUID) {
		t.Helper()
		if found, err := b.Default(t.Context(), org); err != nil || found.ID != want {
			t.Errorf("the default is %s, %v", found.Slug, err)
		}
	}
	isDefault(second.ID)

	// It can neither be deleted nor stop being the default; another one takes its place.
	mustBe(t, b.Delete(t.Context(), org, second.Slug), apperr.Conflict)
	_, err = b.Update(t.Context(), org, second.Slug, bot.Change{IsDefault: new(false)})
	mustBe(t, err, apperr.Conflict)
	if _, err := b.Update(t.Context(), org, first.Slug, bot.Change{IsDefault: new(true)}); err != nil {
		t.Fatal(err)
	}
	isDefault(first.ID)
	if err := b.Delete(t.Context(), org, second.Slug); err != nil {
		t.Fatal(err)
	}
}

func TestUpdateLeavesWhatIsAbsent(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	made := create(t, b, org, bot.NewBot{Name: "Support", Greeting: "Hello!", Description: "d"})
	create(t, b, org, bot.NewBot{Name: "Other"})

	changed, err := b.Update(t.Context(), org, made.Slug, bot.Change{Name: new("Help"), Description: new(""), UnanswerableReply: new(" ")})
	if err != nil {
		t.Fatal(err)
	}
	if changed.Name != "Help" || changed.Greeting != "Hello!" || changed.Description != "" || changed.UnanswerableReply != made.UnanswerableReply {
		t.Errorf("changed to %+v", changed)
	}
	_, err = b.Update(t.Context(), org, made.Slug, bot.Change{Slug: new("other")})
	mustBe(t, err, apperr.Conflict)
	_, err = b.Update(t.Context(), org, made.Slug, bot.Change{Slug: new(made.ID.String())})
	mustBe(t, err, apperr.InvalidRequest)
}

func TestListPages(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	if found, total, err := b.List(t.Context(), org, 1, 2); err != nil || total != 0 || len(found) != 0 {
		t.Errorf("page 1 of nothing: %v, %d, %v", found, total, err)
	}
	for _, name := range []string{"a", "b", "c"} {
		create(t, b, org, bot.NewBot{Name: name})
	}
	found, total, err := b.List(t.Context(), org, 2, 2)
	if err != nil || total != 3 || len(found) != 1 || found[0].Name != "a" {
		t.Errorf("page 2: %v, %d, %v", found, total, err)
	}
	for _, page := range []int{3, 1 << 62} {
		_, _, err := b.List(t.Context(), org, page, 2)
		mustBe(t, err, apperr.NotFound)
	}
}
