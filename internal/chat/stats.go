package chat

import "sync/atomic"

// Stats is what this process has done since its start, and does at the moment.
type Stats struct {
	Stored  int64 // messages of users and staff that were stored
	Refused int64 // messages that were well-formed and were not stored, for whatever reason
	Writing int   // replies that are being written
	Waiting int   // replies of this process's conversations that wait for their turn, or are written elsewhere
	Visits  int   // anonymous visits that are served
}

// tally counts the messages.
type tally struct {
	stored, refused atomic.Int64
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
	}
}
