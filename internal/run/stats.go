package run

import (
	"errors"
	"sync/atomic"

	"parley/internal/reply"
)

// Stats counts the work of this instance since its start, and its current work.
type Stats struct {
	Writing   int   // replies that are being written
	Waiting   int   // replies with followers on this instance that are queued, or written by another instance
	Reclaimed int64 // runs that were reclaimed from another attempt, mostly of another instance

	// Attempts that have ended: stored with one of three states; lost to another attempt; released because the server
	// stops or the database is unavailable; or not stored.
	Completed, Cancelled, Failed, Lost, GivenBack, NotStored int64

	// Stateless completions that have ended.
	StatelessCompleted, StatelessCancelled, StatelessFailed int64
	// Tokens of all attempts and stateless completions, as far as model servers have reported them.
	PromptTokens, CompletionTokens, CachedTokens, ReasoningTokens int64

	FailedHeartbeats int64 // renewals of the leases that failed
}

type tally struct {
	reclaimed, failedHeartbeats                              atomic.Int64
	completed, cancelled, failed, lost, givenBack, notStored atomic.Int64
	statelessCompleted, statelessCancelled, statelessFailed  atomic.Int64
	prompt, completion, cached, reasoning                    atomic.Int64
}

// countStateless counts a stateless completion that has ended.
func (t *tally) countStateless(outcome *reply.Outcome) {
	switch outcome.State {
	case "completed":
		t.statelessCompleted.Add(1)
	case "cancelled":
		t.statelessCancelled.Add(1)
	default:
		t.statelessFailed.Add(1)
	}
	t.countTokens(outcome)
}

func (t *tally) countTokens(outcome *reply.Outcome) {
	answer := outcome.Answer
	t.prompt.Add(toInt64(answer.PromptTokens))
	t.completion.Add(toInt64(answer.CompletionTokens))
	t.cached.Add(toInt64(answer.CachedTokens))
	t.reasoning.Add(toInt64(answer.ReasoningTokens))
}

// countAttempt counts an attempt that has ended. outcome is nil if nothing had to be stored.
func (t *tally) countAttempt(outcome *reply.Outcome, err error) {
	if outcome != nil {
		t.countTokens(outcome)
	}
	switch {
	case errors.Is(err, errLost):
		t.lost.Add(1)
	case err != nil:
		t.notStored.Add(1)
	case outcome == nil:
		t.givenBack.Add(1)
	case outcome.State == "completed":
		t.completed.Add(1)
	case outcome.State == "cancelled":
		t.cancelled.Add(1)
	default:
		t.failed.Add(1)
	}
}

// Stats returns the numbers. It does not read the database.
func (d *Dispatcher) Stats() Stats {
	return Stats{
		Writing:   d.slots.inUse(),
		Waiting:   len(d.live.awaited()),
		Reclaimed: d.tally.reclaimed.Load(),

		Completed: d.tally.completed.Load(),
		Cancelled: d.tally.cancelled.Load(),
		Failed:    d.tally.failed.Load(),
		Lost:      d.tally.lost.Load(),
		GivenBack: d.tally.givenBack.Load(),
		NotStored: d.tally.notStored.Load(),

		StatelessCompleted: d.tally.statelessCompleted.Load(),
		StatelessCancelled: d.tally.statelessCancelled.Load(),
		StatelessFailed:    d.tally.statelessFailed.Load(),

		PromptTokens:     d.tally.prompt.Load(),
		CompletionTokens: d.tally.completion.Load(),
		CachedTokens:     d.tally.cached.Load(),
		ReasoningTokens:  d.tally.reasoning.Load(),

		FailedHeartbeats: d.tally.failedHeartbeats.Load(),
	}
}
