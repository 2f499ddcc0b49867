package records

import (
	"context"
	"runtime"
	"time"

	"github.com/google/uuid"

	"parley/internal/fair"
)

const (
	// recordsPerYield is how many records are written before the goroutine yields, which takes less
	// than a millisecond. Without yielding it would run for ten.
	recordsPerYield = 32
	// pausePerQuery is the pause for each query that others made during a block; maxPause bounds
	// the sum. A block takes some 6 ms on an idle machine: beside 100 requests per second an export
	// is hardly slower, beside thousands it gets a fraction of the time.
	pausePerQuery = 2 * time.Millisecond
	maxPause      = 40 * time.Millisecond
)

// throttle makes the exports of a process background work. An export needs nothing but CPU, in the process and in
// PostgreSQL, so that several concurrent exports would slow down all requests.
//
// Exports take turns: one of them at a time reads and encodes a block. Organizations take turns, and the exports of one
// are served in the order in which they started to wait. After each block all exports pause, for a time proportional
// to the queries of other requests during the block. Without other load there is no pause.
//
// The pause does not depend on the duration of the block: CPU and database are shared fairly, so a busy machine slows
// a block down only a little.
//
// A turn is held while a block is read and encoded, and released while it is sent to the reader. A slow reader
// therefore delays no other export. A context that ends while waiting or pausing gives up its turn.
type throttle struct {
	queryCount func() int64 // all queries of this process
	turn       *fair.Semaphore
	nextStart  time.Time // when the pause ends; belongs to the holder of the turn
}

func newThrottle(queryCount func() int64) *throttle {
	return &throttle{queryCount: queryCount, turn: fair.New(fair.Limits{Size: 1})}
}

// block is the right to read and encode one block.
type block struct {
	throttle *throttle
	release  func()
	queries  int64 // before the block
	records  int
}

// begin waits for a turn and for the end of the pause, or until ctx ends. The holder may wait only for the database.
func (t *throttle) begin(ctx context.Context, organization uuid.UUID) (*block, error) {
	release, err := t.turn.Acquire(ctx, organization, 1)
	if err != nil {
		return nil, err
	}
	pause := time.NewTimer(time.Until(t.nextStart))
	defer pause.Stop()
	select {
	case <-pause.C:
		return &block{throttle: t, release: release, queries: t.queryCount()}, nil
	case <-ctx.Done():
		release()
		return nil, ctx.Err()
	}
}

// addRecord is called before each record.
func (b *block) addRecord() {
	if b.records++; b.records%recordsPerYield == 0 {
		runtime.Gosched()
	}
}

// end releases the turn and starts the pause.
func (b *block) end() {
	others := b.throttle.queryCount() - b.queries - 1
	b.throttle.nextStart = time.Now().Add(min(time.Duration(others)*pausePerQuery, maxPause))
	b.release()
}
