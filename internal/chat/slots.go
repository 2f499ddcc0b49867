package chat

import (
	"sync"

	"github.com/google/uuid"
)

// slots bounds the replies that this process writes at once, in all and for each
// organization. Who finds no slot waits in the database; while anybody does, no
// slot is given but through the queue, so that nobody overtakes. An organization that
// has all of its own slots makes only its own wait.
type slots struct {
	limit             int // in all
	organizationLimit int // for one organization
	// wake tells the queue that there may be something to begin.
	wake chan struct{}

	mu          sync.Mutex
	taken       map[uuid.UUID]int
	total       int
	refusals    int                // how often a slot was refused
	isContended bool               // somebody may be waiting for any slot
	crowded     map[uuid.UUID]bool // where somebody may be waiting for the organization's own
	isLooking   bool               // the queue looks for those who wait
	isClosed    bool
	// answering counts the slots that are taken.
	answering sync.WaitGroup
}

func newSlots(limit, organizationLimit int) *slots {
	return &slots{limit: limit, organizationLimit: organizationLimit, wake: make(chan struct{}, 1), taken: make(map[uuid.UUID]int), crowded: make(map[uuid.UUID]bool)}
}

// take takes a slot for a new reply, unless others wait for one.
func (s *slots) take(organization uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isAwaited(organization) && s.grant(organization) {
		return true
	}
	s.refusals++
	if s.taken[organization] >= s.organizationLimit {
		s.crowded[organization] = true
	} else if !s.crowded[organization] {
		s.isContended = true
	}
	return false
}

// takeNow takes a slot for who does not wait for one: a refusal is no wish to be heard.
func (s *slots) takeNow(organization uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.isAwaited(organization) && s.grant(organization)
}

// takeNext takes a slot for the next one of those who wait.
func (s *slots) takeNext(organization uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant(organization)
}

// isAwaited tells whether somebody may be waiting for a slot of the organization.
func (s *slots) isAwaited(organization uuid.UUID) bool {
	return s.isContended || s.crowded[organization]
}

func (s *slots) grant(organization uuid.UUID) bool {
	if s.isClosed || s.total >= s.limit || s.taken[organization] >= s.organizationLimit {
		return false
	}
	s.total++
	s.taken[organization]++
	s.answering.Add(1)
	return true
}

// release gives a slot back to who waits for one.
func (s *slots) release(organization uuid.UUID) {
	s.mu.Lock()
	mayWait := s.isAwaited(organization) || s.isLooking
	s.mu.Unlock()
	s.returned(organization)
	if mayWait {
		s.call()
	}
}

// returned takes a slot back that nothing was begun with.
func (s *slots) returned(organization uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.taken[organization]--; s.taken[organization] == 0 {
		delete(s.taken, organization)
	}
	s.answering.Done()
}

// call tells the queue to look whether something can be begun.
func (s *slots) call() {
	select {
	case s.wake <- struct{}{}:
	default: // it has been told already
	}
}

// mustYield tells who has a slot that others wait for one.
func (s *slots) mustYield(organization uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isAwaited(organization) || s.isClosed
}

// room tells how many slots are free, who has the others, and how often one was
// refused so far. What was found is to be told with settle.
func (s *slots) room() (free int, organizations []uuid.UUID, taken []int32, refusals int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed {
		return 0, nil, nil, 0
	}
	s.isLooking = true
	for organization, n := range s.taken {
		organizations = append(organizations, organization)
		taken = append(taken, int32(n))
	}
	return s.limit - s.total, organizations, taken, s.refusals
}

// settle says whether there may be more who wait than were found. Whoever waits for an
// organization's own slots, or for any when all are taken, is not found; nor is who
// was refused since.
func (s *slots) settle(refusals int, isMore bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isLooking = false
	s.isContended = isMore || s.refusals != refusals || s.total >= s.limit
	clear(s.crowded)
	for _, organization := range s.fullOnes() {
		s.crowded[organization] = true
	}
}

// full lists the organizations that have all of their own slots.
func (s *slots) full() []uuid.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fullOnes()
}

func (s *slots) fullOnes() []uuid.UUID {
	full := []uuid.UUID{}
	for organization, n := range s.taken {
		if n >= s.organizationLimit {
			full = append(full, organization)
		}
	}
	return full
}

// inUse tells how many slots are taken.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// close gives no more slots.
func (s *slots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isClosed = true
}
