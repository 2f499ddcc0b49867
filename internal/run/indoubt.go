package run

import (
	"context"
	"sync"

	"github.com/google/uuid"
)

const (
	// maxInDoubt bounds the runs that are remembered. Others are reclaimed when their leases expire.
	maxInDoubt = 10_000
	// inDoubtBatch is how many runs are settled at a time.
	inDoubtBatch = 100
)

// inDoubtRuns are runs whose transaction may or may not have committed: the connection was lost
// while it did. No attempt of this instance works on them.
type inDoubtRuns struct {
	mu   sync.Mutex
	runs map[uuid.UUID]uuid.UUID // the organization, by run
}

func (r *inDoubtRuns) add(run, organization uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.runs == nil {
		r.runs = make(map[uuid.UUID]uuid.UUID)
	}
	if len(r.runs) < maxInDoubt {
		r.runs[run] = organization
	}
}

func (r *inDoubtRuns) batch() map[uuid.UUID]uuid.UUID {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch := make(map[uuid.UUID]uuid.UUID, min(len(r.runs), inDoubtBatch))
	for run, organization := range r.runs {
		if batch[run] = organization; len(batch) == inDoubtBatch {
			break
		}
	}
	return batch
}

func (r *inDoubtRuns) remove(run uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.runs, run)
}

// settleInDoubt releases the runs in doubt as soon as the database is available. Those that exist are then reclaimed
// immediately instead of when their leases expire.
func (d *Dispatcher) settleInDoubt(ctx context.Context) {
	for run, organization := range d.inDoubt.batch() {
		if _, attempt := d.live.find(run); attempt > 0 { // the run was queued and has started on this instance since
			d.inDoubt.remove(run)
			continue
		}
		if err := d.store.ReleaseLease(ctx, organization, run, 1); err != nil {
			return // the next round retries
		}
		d.inDoubt.remove(run)
	}
}
