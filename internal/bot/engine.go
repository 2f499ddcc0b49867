package bot

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"parley/gen/db"
	"parley/internal/apperr"
)

// The names of the engines, as the API document lists them. A chatbot's column engine holds one of
// them.
const (
	EngineFAQ      = "faq"      // package faq
	EngineScripted = "scripted" // Scripted, in this package
	EngineOpenAI   = "openai"   // package llm
)

// Engine answers questions for chatbots. An Engine is safe for concurrent use, also for one
// chatbot.
type Engine interface {
	// Respond answers a question on behalf of question.Bot. It passes the reply to emit in non-empty deltas, which
	// form the whole reply when concatenated. It calls emit from one goroutine and returns after the last call. The
	// Answer contains everything except the text.
	//
	// Respond stops early with the error of emit, or with context.Cause(ctx) once ctx is done. Deltas emitted before
	// an error are the beginning of a reply, which the caller may keep. The message of an *apperr.Error is shown to
	// the user; any other error is logged and reported as an internal error.
	Respond(ctx context.Context, question Question, emit func(delta string) error) (Answer, error)

	// CheckSettings returns an InvalidRequest if the chatbot lacks what this engine needs to
	// answer, for example its script or its model. It is called whenever a chatbot that uses the
	// engine is created or changed.
	CheckSettings(chatbot db.Bot) error

	// UsesHistory reports whether the engine reads Question.History and Question.Attachments. They
	// are only loaded for engines that do.
	UsesHistory() bool
}

// Engines are the available engines by name.
type Engines map[string]Engine

// Names returns the names of the engines, sorted.
func (e Engines) Names() []string { return slices.Sorted(maps.Keys(e)) }

// maxReplyTime bounds every reply, because a reply occupies a slot that others wait for.
const maxReplyTime = 10 * time.Minute

// Respond lets the engine of question.Bot answer, as Engine.Respond describes. It limits the reply
// to ten minutes, reports a panic of the engine as an error, and measures the time to the first
// delta.
func (b *Bots) Respond(ctx context.Context, question Question, emit func(delta string) error) (Answer, error) {
	return b.call(ctx, question, func(ctx context.Context, engine Engine, onDelta func()) (Answer, error) {
		return engine.Respond(ctx, question, func(delta string) error {
			onDelta()
			return emit(delta)
		})
	})
}

// call calls the engine of question.Bot. respond calls onDelta before each delta.
func (b *Bots) call(ctx context.Context, question Question, respond func(ctx context.Context, engine Engine, onDelta func()) (Answer, error)) (answer Answer, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxReplyTime, apperr.New(apperr.Timeout, "The reply took longer than ten minutes."))
	defer cancel()
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("the engine panicked: %v\n%s", panicked, debug.Stack())
		}
	}()
	engine, ok := b.engines[question.Bot.Engine]
	if !ok {
		return Answer{}, fmt.Errorf("the chatbot's engine %q is not registered in this version", question.Bot.Engine)
	}
	start, started := time.Now(), false
	return respond(ctx, engine, func() {
		if !started {
			started = true
			b.firstTokens.Observe(question.Bot.Engine, time.Since(start))
		}
	})
}

// UsesHistory reports whether the chatbot's engine reads Question.History and Question.Attachments.
func (b *Bots) UsesHistory(chatbot db.Bot) bool {
	engine, ok := b.engines[chatbot.Engine]
	return ok && engine.UsesHistory()
}

// checkEngine checks a chatbot's settings with its engine. An engine that is not registered accepts
// any settings: the API document already limits the names.
func (b *Bots) checkEngine(chatbot db.Bot) error {
	if engine, ok := b.engines[chatbot.Engine]; ok {
		return engine.CheckSettings(chatbot)
	}
	return nil
}
