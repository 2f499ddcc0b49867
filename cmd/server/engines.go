package main

import (
	"parley/internal/bot"
	"parley/internal/egress"
	"parley/internal/faq"
	"parley/internal/llm"
	"parley/internal/secret"
	"parley/internal/store"
	"parley/internal/trace"
)

// newEngines returns the engines that chatbots can use, by name. It is the only place where they
// are registered. The engine for models is also returned by itself, for its metrics.
func newEngines(opened *store.Store, keys *secret.Keys, traces *trace.Tracer, networks egress.Networks) (bot.Engines, *llm.Engine) {
	faqs := faq.NewEngine(opened)
	models := llm.New(faqs, keys, traces, networks)
	return bot.Engines{
		bot.EngineFAQ:      faqs,
		bot.EngineScripted: bot.Scripted{},
		bot.EngineOpenAI:   models,
	}, models
}
