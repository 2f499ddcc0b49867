package chat

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/store"
)

const (
	// maxDoubts bounds what is remembered; what is beyond is taken up when its lease is over.
	maxDoubts = 10_000
	// doubtBatch is how many are settled at a time.
	doubtBatch = 100
)

// doubts are runs of which it is not known whether they have begun: the database was lost
// while the message was stored that they answer. Nobody works on them here.
type doubts struct {
	mu   sync.Mutex
	runs map[uuid.UUID]uuid.UUID // the organization by run
}

// note notes the run of a message whose storing has ended with err, where that leaves it open.
func (d *doubts) note(message db.SendMessageParams, err error) {
	if !message.CanStart || !store.IsInDoubt(err) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.runs == nil {
		d.runs = make(map[uuid.UUID]uuid.UUID)
	}
	if len(d.runs) < maxDoubts {
		d.runs[message.RunID] = message.OrganizationID
	}
}

func (d *doubts) some() map[uuid.UUID]uuid.UUID {
	d.mu.Lock()
	defer d.mu.Unlock()
	some := make(map[uuid.UUID]uuid.UUID, min(len(d.runs), doubtBatch))
	for run, organization := range d.runs {
		if some[run] = organization; len(some) == doubtBatch {
			break
		}
	}
	return some
}

func (d *doubts) remove(run uuid.UUID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.runs, run)
}

// settleDoubts gives those back that have begun, as soon as the database can be reached, so
// that they are taken up then and not when their lease is over.
func (c *Chat) settleDoubts(ctx context.Context) {
	for run, organization := range c.doubts.some() {
		if _, attempt := c.live.find(run); attempt > 0 { // it had queued, and has been begun here since
			c.doubts.remove(run)
			continue
		}
		if err := c.store.ReleaseLease(ctx, organization, run, 1); err != nil {
			return // the next round tries again
		}
		c.doubts.remove(run)
	}
}
