package chat

import (
	"errors"
	"sync/atomic"
)

// Stats is what this process has done since its start, and does at the moment.
type Stats struct {
	Stored  int64 // messages of users and staff that were stored
	Refused int64 // messages that were well-formed and were not stored, for whatever reason
	Writing int   // replies that are being written
	Waiting int   // replies of this process's conversations that wait for their turn, or are written elsewhere
	Visits  int   // anonymous visits that are served
	TakenUp int64 // replies that an earlier attempt had left behind, mostly another process's

	// How the attempts at replies ended here: stored as they were to be, cancelled or failed;
	// taken over by another attempt, given back because the server stops or the database is
	// away, or not stored.
	Completed, Cancelled, Failed, Lost, GivenBack, NotStored int64
	// UnrenewedLeases is how often the leases of all that is being written could not be renewed.
	UnrenewedLeases int64
}

// tally counts the messages and the attempts at replies.
type tally struct {
	stored, refused, takenUp, unrenewed                      atomic.Int64
	completed, cancelled, failed, lost, givenBack, notStored atomic.Int64
}

// noteAttempt counts an attempt that is over. Without an outcome it was not to be stored.
func (t *tally) noteAttempt(outcome *Outcome, err error) {
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

// note counts a message that was to be stored; a repeated one is neither.
func (t *tally) note(sent Sent, err error) {
	switch {
	case err != nil:
		t.refused.Add(1)
	case !sent.IsReplayed:
		t.stored.Add(1)
	}
}

// Stats returns the numbers; it reads nothing from the database.
func (c *Chat) Stats() Stats {
	c.visits.mu.Lock()
	visits := len(c.visits.byID)
	c.visits.mu.Unlock()
	return Stats{
		Stored:  c.tally.stored.Load(),
		Refused: c.tally.refused.Load(),
		Writing: c.slots.inUse(),
		Waiting: len(c.live.awaited()),
		Visits:  visits,
		TakenUp: c.tally.takenUp.Load(),

		Completed: c.tally.completed.Load(),
		Cancelled: c.tally.cancelled.Load(),
		Failed:    c.tally.failed.Load(),
		Lost:      c.tally.lost.Load(),
		GivenBack: c.tally.givenBack.Load(),
		NotStored: c.tally.notStored.Load(),

		UnrenewedLeases: c.tally.unrenewed.Load(),
	}
}
