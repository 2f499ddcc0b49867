package visit

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"parley/internal/feed"
)

// usage is the memory of a visit, and the time of its last activity.
type usage struct {
	bytes      int
	isUsed     bool // the visit has turns
	lastActive time.Time
}

// enforceVisits makes room for one more visit.
func (v *Visits) enforceVisits(ctx context.Context) {
	if limit := v.limits.Visits; limit > 0 && v.Count() >= limit {
		v.endIdlest(ctx, 1+limit/100, 0) // end some more, so that this is rare
	}
}

// enforceBytes ends visits while all of them hold more than the limit.
func (v *Visits) enforceBytes(ctx context.Context) {
	limit := v.limits.Bytes
	if total := v.states.bytes(); limit > 0 && total > limit {
		v.endIdlest(ctx, 0, total-limit+limit/10)
	}
}

// endIdlest ends visits until the given numbers of visits and bytes are free.
func (v *Visits) endIdlest(ctx context.Context, visits, bytes int) {
	for _, ended := range v.byIdleness() {
		if visits <= 0 && bytes <= 0 {
			return
		}
		visits--
		bytes -= ended.bytes
		v.remove(ended.id)
		v.states.end(ctx, ended.id)
		v.feed.PublishLocal(ended.id, &feed.VisitExpired{})
	}
}

type idleVisit struct {
	usage

	id       uuid.UUID
	watchers int
}

// rank orders visits by what their end would lose: nothing, messages that nobody watches, or messages that somebody
// watches.
func (v idleVisit) rank() int {
	switch {
	case v.watchers > 0:
		return 2
	case v.isUsed:
		return 1
	}
	return 0
}

// byIdleness returns all visits of this instance in the order in which they are ended: by rank, and those that have
// been idle longest first.
func (v *Visits) byIdleness() []idleVisit {
	usages := v.states.usages()
	v.mu.Lock()
	all := make([]idleVisit, 0, len(v.byID))
	for id, served := range v.byID {
		if used, hasState := usages[id]; hasState { // otherwise it is just being created
			all = append(all, idleVisit{usage: used, id: id, watchers: served.watchers})
		}
	}
	v.mu.Unlock()
	slices.SortFunc(all, func(a, b idleVisit) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), a.lastActive.Compare(b.lastActive))
	})
	return all
}
