package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
)

// The engines. The contract names them.
const (
	// EngineFAQ answers from the bot's FAQs.
	EngineFAQ = "faq"
	// EngineScripted says what the bot's script says.
	EngineScripted = "scripted"
	// EngineOpenAI answers by a model behind an OpenAI-compatible server, which is given what the bot knows about the
	// question.
	EngineOpenAI = "openai"
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

// engineByName makes each engine, by its name.
func (b *Bots) engineByName() map[string]Responder {
	faqs := faqEngine{store: b.store, texts: &rememberedTexts{}}
	return map[string]Responder{
		EngineFAQ:      faqs,
		EngineScripted: scriptEngine{},
		EngineOpenAI:   openAIEngine{faqs: faqs, keys: b.keys, servers: b.servers},
	}
}

// maxReplyTime bounds every reply: who holds a place that others wait for must come to an end.
const maxReplyTime = 10 * time.Minute

// Respond has the bot's engine answer a question, as Responder has it. An engine that panics has failed.
func (b *Bots) Respond(ctx context.Context, question Question, emit func(delta string) error) (answer Answer, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxReplyTime, apperr.New(apperr.Timeout, "The reply took longer than ten minutes."))
	defer cancel()
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("the engine panicked: %v\n%s", panicked, debug.Stack())
		}
	}()
	engine, ok := b.engines[question.Bot.Engine]
	if !ok {
		return Answer{}, fmt.Errorf("the chatbot's engine %q is not one of this version", question.Bot.Engine)
	}
	began, hasBegun := time.Now(), false
	return engine.Respond(ctx, question, func(delta string) error {
		if !hasBegun {
			hasBegun = true
			b.firstTokens.Observe(question.Bot.Engine, time.Since(began))
		}
		return emit(delta)
	})
}

// ModelCalls returns how often model servers were asked, by how that ended, as it is read
// then. A question that is asked again is counted again.
func (b *Bots) ModelCalls() map[string]func() int64 {
	counts := make(map[string]func() int64, len(b.servers.tally))
	for how, count := range b.servers.tally {
		counts[how] = count.Load
	}
	return counts
}

// Engines are the names of all engines.
func Engines() []string { return []string{EngineFAQ, EngineScripted, EngineOpenAI} }

// WantsHistory tells whether a bot's engine wants to know of the conversation, and what came with the question, besides
// its text.
func (b *Bots) WantsHistory(asked db.Bot) bool { return asked.Engine == EngineOpenAI }

// checkEngine refuses an engine that cannot answer with the script or the model that there is.
func checkEngine(engine string, script, model json.RawMessage) error {
	switch {
	case engine == EngineScripted && script == nil:
		return apperr.Field(apperr.InvalidRequest, "/script", "must be there for the engine scripted")
	case engine == EngineOpenAI && model == nil:
		return apperr.Field(apperr.InvalidRequest, "/model", "must be there for the engine openai")
	}
	return nil
}
