package faq_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"parley/gen/db"
	"parley/internal/bot"
	"parley/internal/faq"
)

// testEntry is an FAQ with alternative phrasings of its question.
type testEntry struct {
	Question, Answer string
	Paraphrases      []string `json:"asked"`
}

func readEntries(t testing.TB, file string) []testEntry {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var entries []testEntry
	if err := json.Unmarshal(raw, &entries); err != nil {
		t.Fatal(err)
	}
	return entries
}

// createBotFrom creates a chatbot with the FAQs of a file.
func (f fixture) createBotFrom(t *testing.T, file string) (db.Bot, []testEntry) {
	t.Helper()
	entries := readEntries(t, file)
	owner := f.createBot(t, file)
	for _, e := range entries {
		f.createFAQ(t, owner, e.Question, e.Answer)
	}
	return owner, entries
}

var entryFiles = []string{"testdata/zh.json", "testdata/en.json"}

func TestExactQuestionsGetTheirAnswers(t *testing.T) {
	t.Parallel()
	for _, file := range entryFiles {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			owner, entries := f.createBotFrom(t, file)
			for _, e := range entries {
				answer, reply := f.ask(t, owner, e.Question)
				if reply != e.Answer || answer.Nodes[0].Score != 1 || answer.Nodes[0].DisplayScore != "100%" {
					t.Errorf("%q: got reply %q", e.Question, reply)
				}
			}
		})
	}
}

// At least 85 % of the paraphrases must be answered, and the first three offered FAQs must include the right one for
// at least 92 %.
func TestParaphrasesGetTheirAnswers(t *testing.T) {
	t.Parallel()
	for _, file := range entryFiles {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			owner, entries := f.createBotFrom(t, file)
			answered, inFirstThree, total := 0, 0, 0
			for _, e := range entries {
				for _, paraphrase := range e.Paraphrases {
					answer, _ := f.ask(t, owner, paraphrase)
					offered := offeredQuestions(answer)
					total++
					if len(answer.Citations) > 0 && offered[0] == e.Question {
						answered++
					} else {
						t.Logf("%q: got %q, want %q", paraphrase, offered, e.Question)
					}
					if slices.Contains(offered[:min(len(offered), 3)], e.Question) {
						inFirstThree++
					}
				}
			}
			if answered*100 < total*85 || inFirstThree*100 < total*92 {
				t.Errorf("of %d paraphrases %d were answered and %d had their FAQ among the first three", total, answered, inFirstThree)
			}
		})
	}
}

// offeredQuestions returns the questions of the citations, followed by those of the suggestions.
func offeredQuestions(answer bot.Answer) []string {
	var questions []string
	for _, citation := range answer.Citations {
		questions = append(questions, citation.Question)
	}
	for _, suggestion := range answer.Suggestions {
		questions = append(questions, suggestion.Text)
	}
	return questions
}

func TestSearchIgnoresCaseWidthAndPunctuation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner, _ := f.createBotFrom(t, "testdata/en.json")
	for _, text := range []string{"how do i reset my password", "HOW DO I RESET MY PASSWORD???", "Ｈｏｗ do I  reset my password?"} {
		if answer, _ := f.ask(t, owner, text); answer.Citations[0].Question != "How do I reset my password?" || answer.Nodes[0].Score != 1 {
			t.Errorf("%q: got %+v", text, answer.Nodes)
		}
	}
}

func TestExactMatchComesFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	f.createFAQ(t, owner, "Refund refund refunds?", "Wrong.")
	f.createFAQ(t, owner, "Can I have a refund of my refund?", "Wrong.")
	f.createFAQ(t, owner, "Who are you?", "A bot.")
	f.createFAQ(t, owner, "🙂", "Hello!")
	for range 3 {
		f.createFAQ(t, owner, "Refunds: how?", "Right.")
	}
	for text, want := range map[string]string{"refunds, how": "Right.", "who are you": "A bot.", "🙂": "Hello!"} {
		if _, reply := f.ask(t, owner, text); reply != want {
			t.Errorf("%q: got reply %q, want %q", text, reply, want)
		}
	}
}

func TestUnrelatedQuestionsAreUnanswerable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, file := range entryFiles {
		owner, _ := f.createBotFrom(t, file)
		for _, text := range []string{
			"今天天氣如何?", "How do I bake bread?", "asdfgh qwerty", "世界上最高的山是哪一座", "What is the capital of France?",
			"", "   ", "?!", "🙂", "\x01", "幫我寫一首詩",
		} {
			answer, reply := f.ask(t, owner, text)
			if reply != owner.UnanswerableReply || len(answer.Citations)+len(answer.Nodes) > 0 || answer.Context != "" {
				t.Errorf("%q: got reply %q from %+v", text, reply, answer.Nodes)
			}
			if answer.FinishReason != "stop" || answer.Citations == nil || answer.Nodes == nil || answer.Suggestions == nil {
				t.Errorf("%q: got answer %+v", text, answer)
			}
		}
	}
}

func TestKeywordsAreAnswered(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for file, keywords := range map[string][]string{
		"testdata/zh.json": {"退貨", "運費", "統編", "VIP", "停車位"},
		"testdata/en.json": {"refund", "VAT", "offline", "students", "trial"},
	} {
		owner, _ := f.createBotFrom(t, file)
		for _, keyword := range keywords {
			if answer, _ := f.ask(t, owner, keyword); len(answer.Citations) != 1 {
				t.Errorf("%q: got no answer", keyword)
			}
		}
	}
}

func TestAnswerCitesItsFAQ(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	room := f.createFAQ(t, owner, "How do I book a room?", "Call us.")
	f.createFAQ(t, owner, "How do I book a table?", "Come by.")
	f.createFAQ(t, owner, "Are dogs allowed?", "Yes.")

	answer, _ := f.ask(t, owner, "How do I book a room?")

	got, err := json.Marshal([]any{answer.Citations, answer.Nodes, answer.Suggestions})
	if err != nil {
		t.Fatal(err)
	}
	want := `[[{"id":"` + room.ID.String() + `","filename":"FAQ","file":null,"question":"How do I book a room?"}],` +
		`[{"chatbotTextNode":{"id":"` + room.ID.String() + `","text":"Call us.","filename":"FAQ"},"score":1,"displayScore":"100%"}],` +
		`[{"text":"How do I book a table?","context":"faq"}]]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !strings.Contains(answer.Context, "Call us.") || answer.PromptTokens != nil {
		t.Errorf("got context %q, tokens %v", answer.Context, answer.PromptTokens)
	}
}

func TestRespondStopsWithEmitAndContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "x")
	f.createFAQ(t, owner, "Why?", strings.Repeat("Because it is so. ", 100))
	question := bot.Question{Bot: owner, Text: "Why?"}

	errGone := errors.New("gone")
	_, err := f.bots.Respond(t.Context(), question, func(string) error { return errGone })
	if !errors.Is(err, errGone) {
		t.Errorf("got error %v, want that of emit", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	errEnough := errors.New("enough")
	deltas := 0
	_, err = f.bots.Respond(ctx, question, func(string) error {
		deltas++
		cancel(errEnough)
		return nil
	})
	if !errors.Is(err, errEnough) || deltas != 1 {
		t.Errorf("got error %v after %d deltas, want the cause of the context after one", err, deltas)
	}
}

func TestLongMessagesAreAnswered(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner, _ := f.createBotFrom(t, "testdata/zh.json")
	f.ask(t, owner, strings.Repeat("退貨運費付款", 5000))
	long := strings.Repeat("這是一個很長的問題，", 190)
	f.createFAQ(t, owner, long, "長。")
	if answer, _ := f.ask(t, owner, long); answer.Nodes[0].Score != 1 {
		t.Errorf("a long question, asked exactly: got %+v", answer.Nodes)
	}
}

func TestSeedAnswersQuestionsAboutParley(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner := f.createBot(t, "Parley")
	for _, n := range faq.Seed() {
		if _, err := f.faqs.Create(t.Context(), f.org, owner.Slug, n); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		"What's Parley?": "What is Parley?", "sending a message": "How do I send a message?",
		"api key": "How do I get an API key?", "怎麼匯入常見問題": "如何匯入常見問題？",
	} {
		if answer, _ := f.ask(t, owner, text); len(answer.Citations) == 0 || answer.Citations[0].Question != want {
			t.Errorf("%q: got %+v, want %q", text, answer.Citations, want)
		}
	}
	if answer, _ := f.ask(t, owner, "How do I bake bread?"); len(answer.Citations) > 0 {
		t.Errorf("an unrelated question: got %+v", answer.Citations)
	}
}
