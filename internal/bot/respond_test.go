package bot_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/bot"
)

// ask returns the answer and the pieces of the reply.
func ask(t *testing.T, b *bot.Bots, owner db.Bot, text string) (bot.Answer, []string) {
	t.Helper()
	var pieces []string
	answer, err := b.Respond(t.Context(), bot.Question{Bot: owner, Text: text}, func(delta string) error {
		pieces = append(pieces, delta)
		return nil
	})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return answer, pieces
}

type known struct {
	Question, Answer string
	Asked            []string // in other words
}

func readKnown(t testing.TB, file string) []known {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var entries []known
	if err := json.Unmarshal(raw, &entries); err != nil {
		t.Fatal(err)
	}
	return entries
}

// teach makes a bot that knows the entries of a file.
func teach(t *testing.T, b *bot.Bots, org uuid.UUID, file string) (db.Bot, []known) {
	t.Helper()
	entries := readKnown(t, file)
	owner := create(t, b, org, bot.NewBot{Name: file})
	for _, e := range entries {
		addFAQ(t, b, owner, e.Question, e.Answer)
	}
	return owner, entries
}

func TestAQuestionGetsItsAnswer(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"testdata/zh.json", "testdata/en.json"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			b, org := open(t)
			owner, entries := teach(t, b, org, file)

			first, firstThree, all := 0, 0, 0
			for _, e := range entries {
				answer, pieces := ask(t, b, owner, e.Question)
				if strings.Join(pieces, "") != e.Answer || answer.Nodes[0].Score != 1 || answer.Nodes[0].DisplayScore != "100%" {
					t.Errorf("asked word for word, %q got %q", e.Question, pieces)
				}
				for _, asked := range e.Asked {
					answer, _ := ask(t, b, owner, asked)
					offered := questions(answer)
					all++
					if len(answer.Citations) > 0 && offered[0] == e.Question {
						first++
					} else {
						t.Logf("%q did not get %q but %q", asked, e.Question, offered)
					}
					if slices.Contains(offered[:min(len(offered), 3)], e.Question) {
						firstThree++
					}
				}
			}
			if first*100 < all*85 || firstThree*100 < all*92 {
				t.Errorf("of %d questions in other words %d got their answer, %d among the first three", all, first, firstThree)
			}
		})
	}
}

func questions(answer bot.Answer) []string {
	var found []string
	for _, c := range answer.Citations {
		found = append(found, c.Question)
	}
	for _, s := range answer.Suggestions {
		found = append(found, s.Text)
	}
	return found
}

func TestSpellingDoesNotMatter(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	owner, _ := teach(t, b, org, "testdata/en.json")
	for _, asked := range []string{"how do i reset my password", "HOW DO I RESET MY PASSWORD???", "Ｈｏｗ do I  reset my password?"} {
		if answer, _ := ask(t, b, owner, asked); answer.Citations[0].Question != "How do I reset my password?" || answer.Nodes[0].Score != 1 {
			t.Errorf("%q got %+v", asked, answer.Nodes)
		}
	}
}

func TestTheVeryQuestionWins(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	owner := create(t, b, org, bot.NewBot{Name: "x"})
	addFAQ(t, b, owner, "Refund refund refunds?", "Wrong.")
	addFAQ(t, b, owner, "Can I have a refund of my refund?", "Wrong.")
	addFAQ(t, b, owner, "Who are you?", "A bot.")
	addFAQ(t, b, owner, "🙂", "Hello!")
	for range 3 {
		addFAQ(t, b, owner, "Refunds: how?", "Right.")
	}
	for asked, want := range map[string]string{"refunds, how": "Right.", "who are you": "A bot.", "🙂": "Hello!"} {
		if _, pieces := ask(t, b, owner, asked); strings.Join(pieces, "") != want {
			t.Errorf("%q got %q", asked, pieces)
		}
	}
}

func TestWhatNothingIsNearToIsNotAnswered(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	for _, file := range []string{"testdata/zh.json", "testdata/en.json"} {
		owner, _ := teach(t, b, org, file)
		for _, asked := range []string{
			"今天天氣如何?", "How do I bake bread?", "asdfgh qwerty", "世界上最高的山是哪一座", "What is the capital of France?",
			"", "   ", "?!", "🙂", "\x01", "幫我寫一首詩",
		} {
			answer, pieces := ask(t, b, owner, asked)
			if strings.Join(pieces, "") != owner.UnanswerableReply || len(answer.Citations)+len(answer.Nodes) > 0 || answer.Context != "" {
				t.Errorf("%q got %q of %+v", asked, pieces, answer.Nodes)
			}
			if answer.FinishReason != "stop" || answer.Citations == nil || answer.Nodes == nil || answer.Suggestions == nil {
				t.Errorf("%q: %+v", asked, answer)
			}
		}
	}
}

func TestFewWordsAreEnough(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	for file, all := range map[string][]string{
		"testdata/zh.json": {"退貨", "運費", "統編", "VIP", "停車位"},
		"testdata/en.json": {"refund", "VAT", "offline", "students", "trial"},
	} {
		owner, _ := teach(t, b, org, file)
		for _, asked := range all {
			if answer, _ := ask(t, b, owner, asked); len(answer.Citations) != 1 {
				t.Errorf("%q got no answer", asked)
			}
		}
	}
}

func TestAnAnswerTellsWhatItIsMadeOf(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	owner := create(t, b, org, bot.NewBot{Name: "x"})
	entry := addFAQ(t, b, owner, "How do I book a room?", "Call us.")
	addFAQ(t, b, owner, "How do I book a table?", "Come by.")
	addFAQ(t, b, owner, "Are dogs allowed?", "Yes.")

	answer, _ := ask(t, b, owner, "How do I book a room?")

	got, err := json.Marshal([]any{answer.Citations, answer.Nodes, answer.Suggestions})
	if err != nil {
		t.Fatal(err)
	}
	want := `[[{"id":"` + entry.ID.String() + `","filename":"FAQ","file":null,"question":"How do I book a room?"}],` +
		`[{"chatbotTextNode":{"id":"` + entry.ID.String() + `","text":"Call us.","filename":"FAQ"},"score":1,"displayScore":"100%"}],` +
		`[{"text":"How do I book a table?","context":"faq"}]]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !strings.Contains(answer.Context, "Call us.") || answer.PromptTokens != nil {
		t.Errorf("context %q, tokens %v", answer.Context, answer.PromptTokens)
	}
}

func TestRespondEndsWhenItsListenerDoes(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	owner := create(t, b, org, bot.NewBot{Name: "x"})
	addFAQ(t, b, owner, "Why?", strings.Repeat("Because it is so. ", 100))

	gone := errors.New("gone")
	_, err := b.Respond(t.Context(), bot.Question{Bot: owner, Text: "Why?"}, func(string) error { return gone })
	if !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	heard := 0
	_, err = b.Respond(ctx, bot.Question{Bot: owner, Text: "Why?"}, func(string) error {
		heard++
		cancel(enough)
		return nil
	})
	if !errors.Is(err, enough) || heard != 1 {
		t.Errorf("got %v after %d pieces", err, heard)
	}
}

func TestAnEngineOfAnotherVersionIsNoFaultOfTheAsker(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	owner := create(t, b, org, bot.NewBot{Name: "x", Engine: "later"})
	_, err := b.Respond(t.Context(), bot.Question{Bot: owner, Text: "Why?"}, func(string) error {
		t.Error("something was said")
		return nil
	})
	mustBe(t, err, apperr.Internal)
}

func TestALongMessageIsAQuestionToo(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	owner, _ := teach(t, b, org, "testdata/zh.json")
	ask(t, b, owner, strings.Repeat("退貨運費付款", 5000))
	long := strings.Repeat("這是一個很長的問題，", 190)
	addFAQ(t, b, owner, long, "長。")
	if answer, _ := ask(t, b, owner, long); answer.Nodes[0].Score != 1 {
		t.Errorf("a long question word for word: %+v", answer.Nodes)
	}
}

func TestSeedFAQsAnswerForParley(t *testing.T) {
	t.Parallel()
	b, org := open(t)
	owner := create(t, b, org, bot.NewBot{Name: "Parley"})
	for _, n := range bot.SeedFAQs() {
		if _, err := b.CreateFAQ(t.Context(), org, owner.Slug, n); err != nil {
			t.Fatal(err)
		}
	}
	for asked, want := range map[string]string{
		"What's Parley?": "What is Parley?", "sending a message": "How do I send a message?",
		"api key": "How do I get an API key?", "怎麼匯入常見問題": "如何匯入常見問題？",
	} {
		if answer, _ := ask(t, b, owner, asked); len(answer.Citations) == 0 || answer.Citations[0].Question != want {
			t.Errorf("%q got %+v", asked, answer.Citations)
		}
	}
	if answer, _ := ask(t, b, owner, "How do I bake bread?"); len(answer.Citations) > 0 {
		t.Errorf("baking bread got %+v", answer.Citations)
	}
}
