package bot

import (
	"context"
	"fmt"

	"parley/internal/store"
)

// The engines. The contract names them.
const (
	// EngineFAQ answers from the bot's FAQs.
	EngineFAQ = "faq"
	// EngineScripted says what the bot's script says.
	EngineScripted = "scripted"
)

// Responder is an engine: it answers a question for the bot that was asked. It is safe for concurrent use, also for one
// bot.
//
// emit gets the reply in pieces, none of them empty, which joined are the reply; the answer tells what else there is to
// say about it. Respond calls emit from one goroutine and returns after the last call. It ends early with the error of
// emit, or with the cause of ctx's end. What was emitted before an error is the beginning of a reply: the caller may keep
// it. An error that the asker may hear of is a fault.
type Responder interface {
	Respond(ctx context.Context, question Question, emit func(delta string) error) (Answer, error)
}

// enginesOf returns each engine by its name.
func enginesOf(s *store.Store) map[string]Responder {
	return map[string]Responder{
		EngineFAQ:      faqEngine{s},
		EngineScripted: scriptEngine{},
	}
}

// Respond has the bot's engine answer a question, as Responder has it.
func (b *Bots) Respond(ctx context.Context, question Question, emit func(delta string) error) (Answer, error) {
	engine, ok := b.engines[question.Bot.Engine]
	if !ok {
		return Answer{}, fmt.Errorf("the chatbot's engine %q is not one of this version", question.Bot.Engine)
	}
	return engine.Respond(ctx, question, emit)
}
