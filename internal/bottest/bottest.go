// Package bottest provides chatbots with every engine for tests.
package bottest

import (
	"testing"

	"parley/gen/db"
	"parley/internal/bot"
	"parley/internal/egress"
	"parley/internal/faq"
	"parley/internal/llm"
	"parley/internal/secret"
	"parley/internal/store"
)

// New returns the chatbots stored in s. keys may be nil; chatbots then cannot have API keys.
func New(s *store.Store, keys *secret.Keys, options ...bot.Option) *bot.Bots {
	faqs := faq.NewEngine(s)
	return bot.New(s, bot.Engines{
		bot.EngineFAQ:      faqs,
		bot.EngineScripted: bot.Scripted{},
		bot.EngineOpenAI:   llm.New(faqs, keys, nil, egress.Private()),
	}, append(options, bot.WithKeys(keys))...)
}

// AddFAQ adds an FAQ to a chatbot.
func AddFAQ(t testing.TB, s *store.Store, chatbot db.Bot, question, answer string) {
	t.Helper()
	faqs := faq.New(s, bot.New(s, nil))
	_, err := faqs.Create(t.Context(), chatbot.OrganizationID, chatbot.ID.String(), faq.NewFAQ{Question: question, Answer: answer})
	if err != nil {
		t.Fatal(err)
	}
}
