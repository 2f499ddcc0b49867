package run

import (
	"maps"
	"sync"

	"github.com/google/uuid"
)

// slots bounds the concurrent replies of this instance, in total and per organization. A run without a slot waits in
// the database. While any run may be waiting, new runs get slots only through the queue, so that none overtakes
// another. An organization that uses all of its own slots delays only its own runs.
//
// An organization's share shrinks with the free slots, so that some are always left for one that has
// none. An organization alone gets organizationLimit; of two that take all they can, each gets less, and
// so on. A single organization may use all slots if organizationLimit is not less than limit.
type slots struct {
	limit             int
	organizationLimit int
	// wake holds a value when the queue may be able to start a run.
	wake chan struct{}

	mu          sync.Mutex
	taken       map[uuid.UUID]int // by organization
	total       int
	refusals    int                // how often a slot was refused to an organization that is not crowded
	isContended bool               // a run may be waiting for any slot
	crowded     map[uuid.UUID]bool // organizations with runs that may be waiting for one of their own slots
	refused     map[uuid.UUID]bool // crowded organizations that were refused a slot since the last scan began
	isScanning  bool               // the queue is being read
	isClosed    bool
	// answering counts the taken slots.
	answering sync.WaitGroup
}

func newSlots(limit, organizationLimit int) *slots {
	return &slots{
		limit: limit, organizationLimit: organizationLimit,
		wake: make(chan struct{}, 1), taken: make(map[uuid.UUID]int), crowded: make(map[uuid.UUID]bool), refused: make(map[uuid.UUID]bool),
	}
}

// take takes a slot for a new run, unless other runs wait for one. If it is refused, the run will
// be queued.
func (s *slots) take(organization uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isAwaited(organization) && s.grant(organization) {
		return true
	}
	if s.crowded[organization] || s.isFull(organization) {
		s.crowded[organization], s.refused[organization] = true, true
	} else {
		s.refusals++
		s.isContended = true
	}
	return false
}

// takeUnqueued is take for what cannot be queued.
func (s *slots) takeUnqueued(organization uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.isAwaited(organization) && s.grant(organization)
}

// takeQueued takes a slot for a run that was queued or abandoned.
func (s *slots) takeQueued(organization uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant(organization)
}

// isAwaited reports whether a run may be waiting for a slot of the organization. It requires the
// lock.
func (s *slots) isAwaited(organization uuid.UUID) bool {
	return s.isContended || s.crowded[organization]
}

// grant requires the lock.
func (s *slots) grant(organization uuid.UUID) bool {
	if s.isClosed || s.total >= s.limit || s.isFull(organization) {
		return false
	}
	s.total++
	s.taken[organization]++
	s.answering.Add(1)
	return true
}

// isFull reports whether an organization has its share of the slots. It requires the lock.
func (s *slots) isFull(organization uuid.UUID) bool {
	taken := s.taken[organization]
	return taken > 0 && taken >= s.share()
}

// share returns how many slots an organization may have now. It is proportional to the free slots, with
// the factor that yields organizationLimit for an organization alone. It requires the lock.
func (s *slots) share() int {
	if s.organizationLimit >= s.limit {
		return s.organizationLimit
	}
	free, others := int64(s.limit-s.total), int64(s.limit-s.organizationLimit)
	share := (int64(s.organizationLimit)*free + others - 1) / others // rounded up
	return int(min(share, int64(s.organizationLimit)))
}

// release releases a slot and wakes the queue if a run may be waiting for it.
func (s *slots) release(organization uuid.UUID) {
	s.mu.Lock()
	isAwaited := s.isAwaited(organization) || s.isScanning
	s.mu.Unlock()
	s.putBack(organization)
	if isAwaited || s.hasRoomForCrowded() {
		s.signal()
	}
}

// hasRoomForCrowded reports whether the share of an organization has grown whose runs may be waiting.
func (s *slots) hasRoomForCrowded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for organization := range s.crowded {
		if !s.isFull(organization) {
			return true
		}
	}
	return false
}

// putBack gives back a slot that the queue took and did not use.
func (s *slots) putBack(organization uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.taken[organization]--; s.taken[organization] == 0 {
		delete(s.taken, organization)
	}
	s.answering.Done()
}

// signal wakes the queue.
func (s *slots) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// mustYield reports whether a slot should be released between two runs, because others wait.
func (s *slots) mustYield(organization uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isAwaited(organization) || s.isClosed
}

// usage is the usage of slots when a scan of the queue began.
type usage struct {
	free          int
	share         int // how many slots an organization may have
	organizations []uuid.UUID
	taken         []int32 // of the organizations' own slots
	refusals      int
}

// beginScan returns the usage before the queue is read; endScan follows with what was found.
func (s *slots) beginScan() usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed {
		return usage{}
	}
	s.isScanning = true
	clear(s.refused)
	found := usage{free: s.limit - s.total, share: max(s.share(), 1), refusals: s.refusals}
	for organization, n := range s.taken {
		found.organizations = append(found.organizations, organization)
		found.taken = append(found.taken, int32(n))
	}
	return found
}

// endScan records whether more runs may be waiting than the scan found. A scan does not find runs that wait for their
// organization's own slots, runs at a time when all slots are taken, and runs that were refused a slot after it
// began.
func (s *slots) endScan(begun usage, hasMore bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isScanning = false
	s.isContended = hasMore || s.refusals != begun.refusals || s.total >= s.limit
	clear(s.crowded)
	for _, organization := range s.listFull() {
		s.crowded[organization] = true
	}
	maps.Copy(s.crowded, s.refused)
}

// fullOrganizations returns the organizations that use all of their own slots.
func (s *slots) fullOrganizations() []uuid.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listFull()
}

// listFull requires the lock.
func (s *slots) listFull() []uuid.UUID {
	full := []uuid.UUID{}
	for organization, n := range s.taken { // only organizations with slots have an entry
		if n >= s.share() {
			full = append(full, organization)
		}
	}
	return full
}

func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// close refuses all further slots.
func (s *slots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isClosed = true
}
