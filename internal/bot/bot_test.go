package bot_test

import (
	"regexp"
	"testing"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/dbtest"
)

func TestCreateSetsDefaultsAndCreatesTheInbox(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	b, org := bot.New(s, scripted), newOrganization(t, s, "ours")

	created := create(t, b, org, bot.NewBot{Name: "Crème & Co"})

	if created.Slug != "creme-co" || created.Engine != bot.EngineFAQ || created.UnanswerableReply == "" || created.IsDefault {
		t.Errorf("created %+v", created)
	}
	inbox, err := s.GetAPIInbox(t.Context(), org, created.ID)
	if err != nil {
		t.Fatal(err)
	}
	if inbox.Name != created.Name {
		t.Errorf("got inbox name %q, want %q", inbox.Name, created.Name)
	}
}

func TestSlugIsDerivedFromTheName(t *testing.T) {
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
		if created := create(t, b, org, bot.NewBot{Name: name}); !regexp.MustCompile(want).MatchString(created.Slug) {
			t.Errorf("%q: got slug %q, want %s", name, created.Slug, want)
		}
	}
}

func TestSlugsAreUnique(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	create(t, b, org, bot.NewBot{Name: "One", Slug: "one"})

	_, err := b.Create(t.Context(), org, bot.NewBot{Name: "Other", Slug: "one"})
	mustBe(t, err, apperr.Conflict)
	_, err = b.Create(t.Context(), org, bot.NewBot{Name: "Other", Slug: uuid.NewString()})
	mustBe(t, err, apperr.InvalidRequest)

	// A derived slug gets a suffix instead.
	first := create(t, b, org, bot.NewBot{Name: "Two"})
	second := create(t, b, org, bot.NewBot{Name: "Two"})
	if first.Slug != "two" || !regexp.MustCompile(`^two-[0-9a-f]{6}$`).MatchString(second.Slug) {
		t.Errorf("got slugs %q and %q", first.Slug, second.Slug)
	}
}

func TestChatbotsBelongToOneOrganization(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	b, org, other := bot.New(s, scripted), newOrganization(t, s, "ours"), newOrganization(t, s, "theirs")
	created := create(t, b, org, bot.NewBot{Name: "Support"})

	for _, ref := range []string{created.ID.String(), created.Slug} {
		if got, err := b.Get(t.Context(), org, ref); err != nil || got.ID != created.ID {
			t.Errorf("%s: got %v, error %v", ref, got.ID, err)
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

func TestOneChatbotIsTheDefault(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	_, err := b.Default(t.Context(), org)
	mustBe(t, err, apperr.NotFound)

	first := create(t, b, org, bot.NewBot{Name: "First", IsDefault: true})
	second := create(t, b, org, bot.NewBot{Name: "Second", IsDefault: true})
	mustBeDefault := func(want uuid.UUID) {
		t.Helper()
		if got, err := b.Default(t.Context(), org); err != nil || got.ID != want {
			t.Errorf("got default %s, error %v", got.Slug, err)
		}
	}
	mustBeDefault(second.ID)

	// The default chatbot can only be replaced by another one.
	mustBe(t, b.Delete(t.Context(), org, second.Slug), apperr.Conflict)
	_, err = b.Update(t.Context(), org, second.Slug, bot.Change{IsDefault: new(false)})
	mustBe(t, err, apperr.Conflict)
	if _, err := b.Update(t.Context(), org, first.Slug, bot.Change{IsDefault: new(true)}); err != nil {
		t.Fatal(err)
	}
	mustBeDefault(first.ID)
	if err := b.Delete(t.Context(), org, second.Slug); err != nil {
		t.Fatal(err)
	}
}

func TestUpdateKeepsAbsentFields(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	created := create(t, b, org, bot.NewBot{Name: "Support", Greeting: "Hello!", Description: "d"})
	create(t, b, org, bot.NewBot{Name: "Other"})

	changed, err := b.Update(t.Context(), org, created.Slug, bot.Change{Name: new("Help"), Description: new(""), UnanswerableReply: new(" ")})
	if err != nil {
		t.Fatal(err)
	}
	if changed.Name != "Help" || changed.Greeting != "Hello!" || changed.Description != "" || changed.UnanswerableReply != created.UnanswerableReply {
		t.Errorf("changed to %+v", changed)
	}
	_, err = b.Update(t.Context(), org, created.Slug, bot.Change{Slug: new("other")})
	mustBe(t, err, apperr.Conflict)
	_, err = b.Update(t.Context(), org, created.Slug, bot.Change{Slug: new(created.ID.String())})
	mustBe(t, err, apperr.InvalidRequest)
}

func TestListPages(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	if got, total, err := b.List(t.Context(), org, 1, 2); err != nil || total != 0 || len(got) != 0 {
		t.Errorf("empty list: got %v, %d, error %v", got, total, err)
	}
	for _, name := range []string{"a", "b", "c"} {
		create(t, b, org, bot.NewBot{Name: name})
	}
	got, total, err := b.List(t.Context(), org, 2, 2)
	if err != nil || total != 3 || len(got) != 1 || got[0].Name != "a" {
		t.Errorf("page 2: got %v, %d, error %v", got, total, err)
	}
	for _, page := range []int{3, 1 << 62} {
		_, _, err := b.List(t.Context(), org, page, 2)
		mustBe(t, err, apperr.NotFound)
	}
}
