package chat

import "sync/atomic"

// Stats counts the work of this instance since its start.
type Stats struct {
	Stored  int64 // messages of users and staff that were stored
	Refused int64 // valid messages that were not stored, for any reason
}

type tally struct{ stored, refused atomic.Int64 }

// countMessage counts the outcome of storing a message. A repeat is not counted.
func (t *tally) countMessage(sent Sent, err error) {
	switch {
	case err != nil:
		t.refused.Add(1)
	case !sent.IsReplayed:
		t.stored.Add(1)
	}
}

// Stats returns the numbers. It does not read the database.
func (c *Chat) Stats() Stats {
	return Stats{Stored: c.tally.stored.Load(), Refused: c.tally.refused.Load()}
}
