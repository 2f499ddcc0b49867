package run

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/reply"
)

// liveReplies are the replies that this instance writes or awaits. An awaited reply has followers on
// this instance, while it is queued or another instance writes it.
type liveReplies struct {
	mu    sync.Mutex
	byRun map[uuid.UUID]*liveReply
	// closed is the error with which awaited replies end after the dispatcher has closed; nil before.
	closed *apperr.Error
}

type liveReply struct {
	*reply.Reply
	organization uuid.UUID
	// attempt is the one that this instance works on; 0 for none.
	attempt int
	stop    context.CancelCauseFunc
	// isAwaited is set once the run is committed. Its outcome is then read from the database.
	isAwaited bool
	// announced is the latest attempt on another instance whose start was published here.
	announced int
}

// add returns the reply of a run, and creates it if it is new.
func (l *liveReplies) add(organization, run, conversation, message uuid.UUID) *reply.Reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found, ok := l.byRun[run]; ok {
		return found.Reply
	}
	created := &liveReply{Reply: reply.New(run, conversation, message), organization: organization}
	l.byRun[run] = created
	return created.Reply
}

// await registers a run whose outcome is read from the database, whichever instance writes its reply.
func (l *liveReplies) await(run uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.byRun[run]
	if found == nil {
		return
	}
	if found.isAwaited = true; l.closed != nil {
		l.failAwaitedLocked(l.closed)
	}
}

// fail ends the reply of an attempt that this instance will not complete. It does nothing if a
// later attempt writes the reply.
func (l *liveReplies) fail(run uuid.UUID, attempt int, err *apperr.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := l.byRun[run]; found != nil && found.attempt == attempt {
		found.Fail(err)
		delete(l.byRun, run)
	}
}

// failAwaited aborts all waits for replies, whether another instance writes them or they are queued.
func (l *liveReplies) failAwaited(err *apperr.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failAwaitedLocked(err)
}

// close fails all awaited replies, and those that are awaited later.
func (l *liveReplies) close(err *apperr.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = err
	l.failAwaitedLocked(err)
}

// failAwaitedLocked requires the lock. Without it, it could fail a reply that this instance has just started to
// write.
func (l *liveReplies) failAwaitedLocked(err *apperr.Error) {
	for run, live := range l.byRun {
		if live.attempt == 0 && live.isAwaited {
			live.Fail(err)
			delete(l.byRun, run)
		}
	}
}

// begin records that an attempt of this instance writes a reply. stop is called when the attempt
// must end; an earlier attempt of this instance is stopped now.
func (l *liveReplies) begin(organization uuid.UUID, r *reply.Reply, attempt int, stop context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.byRun[r.RunID]
	if found == nil { // all waits for it were aborted
		found = &liveReply{Reply: r, organization: organization}
		l.byRun[r.RunID] = found
	}
	if found.stop != nil {
		found.stop(errLost)
	}
	found.attempt, found.stop = attempt, stop
}

// leave records that an attempt of this instance has stopped writing and another one will end the
// reply.
func (l *liveReplies) leave(run uuid.UUID, attempt int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := l.byRun[run]; found != nil && found.attempt == attempt {
		found.attempt, found.stop, found.isAwaited = 0, nil, true
	}
}

// stop stops an attempt if this instance works on it.
func (l *liveReplies) stop(run uuid.UUID, attempt int, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := l.byRun[run]; found != nil && found.attempt == attempt && found.stop != nil {
		found.stop(cause)
	}
}

// drop removes the reply of a run that was not created, unless the queue has started it.
func (l *liveReplies) drop(run uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := l.byRun[run]; found != nil && found.attempt == 0 {
		delete(l.byRun, run)
	}
}

// remove removes a run's reply. Its followers keep it.
func (l *liveReplies) remove(run uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byRun, run)
}

// attempts names the attempts that this instance works on, as parallel lists for a query.
type attempts struct {
	organizations, runs []uuid.UUID
	numbers             []int32
}

func (l *liveReplies) attempts() attempts {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found attempts
	for run, live := range l.byRun {
		if live.attempt > 0 {
			found.organizations = append(found.organizations, live.organization)
			found.runs = append(found.runs, run)
			found.numbers = append(found.numbers, int32(live.attempt))
		}
	}
	return found
}

// awaited returns the replies whose outcome is read from the database.
func (l *liveReplies) awaited() []*liveReply {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*liveReply
	for _, live := range l.byRun {
		if live.attempt == 0 && live.isAwaited {
			found = append(found, live)
		}
	}
	return found
}

// find returns a run's reply and the attempt of this instance, 0 for none. The reply is nil if it
// is neither written nor awaited here.
func (l *liveReplies) find(run uuid.UUID) (found *liveReply, attempt int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found = l.byRun[run]; found != nil {
		attempt = found.attempt
	}
	return found, attempt
}

// announce reports whether the start of an attempt on another instance has yet to be published
// here, and records that it was.
func (l *liveReplies) announce(run uuid.UUID, attempt int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.byRun[run]
	if found == nil || attempt <= found.announced {
		return false
	}
	found.announced = attempt
	return true
}

// ofConversation returns the runs of a conversation.
func (l *liveReplies) ofConversation(conversation uuid.UUID) []uuid.UUID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []uuid.UUID
	for run, live := range l.byRun {
		if live.ConversationID == conversation {
			found = append(found, run)
		}
	}
	return found
}
