package records

import (
	"context"
	"runtime"
	"time"
)

const (
	// recordsAtOnce is how many records are written down before others are let in, which
	// takes less than a millisecond: by itself a goroutine lets nobody in for ten.
	recordsAtOnce = 32
	// restForOne is how long exports rest for each thing that others have asked of the
	// database during a turn, and longestRest how long for all of them. A turn takes some
	// 6 ms of an idle machine: beside 100 requests a second an export is little slower,
	// beside thousands it takes a fraction of the time.
	restForOne  = 2 * time.Millisecond
	longestRest = 40 * time.Millisecond
)

// turns makes the exports of a process background work. Each is nothing but CPU, in the
// process and in PostgreSQL, so a few at once would take all processors from whoever
// answers people. They work in turns, a block each, whoever has waited longest next; and
// after a turn all of them rest for as long as what others have asked meanwhile is worth.
// Where nobody asks, nobody rests. How long the processor or the database lets an export
// wait would say less: both are shared fairly, and a machine that is full delays it by
// little more than an idle one.
type turns struct {
	asked func() int64 // how often the database was asked by all of this process
	taken chan struct{}
	next  time.Time // when the next turn may begin; belongs to whoever has the turn
}

func newTurns(asked func() int64) *turns {
	return &turns{asked: asked, taken: make(chan struct{}, 1)}
}

// turn is the right to work until its end.
type turn struct {
	of      *turns
	asked   int64 // before it
	records int
}

// begin waits for a turn, no longer than the context lasts. Nothing may be waited for in
// it but the database.
func (t *turns) begin(ctx context.Context) (*turn, error) {
	select {
	case t.taken <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	rest := time.NewTimer(time.Until(t.next))
	defer rest.Stop()
	select {
	case <-rest.C:
		return &turn{of: t, asked: t.asked()}, nil
	case <-ctx.Done():
		<-t.taken
		return nil, ctx.Err()
	}
}

// step is called before each record.
func (t *turn) step() {
	if t.records++; t.records%recordsAtOnce == 0 {
		runtime.Gosched()
	}
}

// end lets the next one have its turn, after the rest.
func (t *turn) end() {
	others := t.of.asked() - t.asked - 1
	t.of.next = time.Now().Add(min(time.Duration(others)*restForOne, longestRest))
	<-t.of.taken
}
