package run_test

import (
	"testing"

	"parley/internal/bot"
	"parley/internal/chattest"
)

// The earlier messages of a conversation are read only for model engines.
func TestOnlyModelsUseHistory(t *testing.T) {
	t.Parallel()
	f := chattest.New(t)
	for engine, want := range map[string]bool{bot.EngineFAQ: false, bot.EngineScripted: false, bot.EngineOpenAI: true} {
		owner := f.Bot
		owner.Engine = engine
		if got := f.Bots.UsesHistory(owner); got != want {
			t.Errorf("engine %s uses history: %t, want %t", engine, got, want)
		}
	}
}
