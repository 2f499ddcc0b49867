package store

import (
	"context"
	"slices"
	"time"
)

const (
	// maxIsolated is how many isolated statements run at once, each on a connection of the pool.
	maxIsolated = 4
	// isolatedTime bounds one run of an isolated statement.
	isolatedTime = 30 * time.Second
	// isolatedLockWait bounds the time from the first run of an isolated statement to the last lock
	// timeout after which it runs again. Each run waits for at most batchLockTimeout, so that the
	// isolated statements of other sessions get their turns.
	isolatedLockWait = 10 * time.Second
)

// isolate removes the statements of the blocked sessions from the batch, starts running them on
// their own, and returns the rest of the batch.
func (g *groupCommit) isolate(batch []*statement, blocked map[SessionKey]bool) (rest []*statement) {
	bySession := make(map[SessionKey][]*statement)
	for _, s := range batch {
		if blocked[s.session] {
			bySession[s.session] = append(bySession[s.session], s)
		} else {
			rest = append(rest, s)
		}
	}
	for session, statements := range bySession {
		g.isolateSession(session, statements)
	}
	return rest
}

// isolateSession starts running the statements of a session one after the other, followed by those
// of the session that are still queued.
func (g *groupCommit) isolateSession(session SessionKey, statements []*statement) {
	g.stats.isolated.Add(int64(len(statements)))
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range statements {
		g.markWaiting(s)
	}
	g.queue = slices.DeleteFunc(g.queue, func(s *statement) bool {
		if s.session != session {
			return false
		}
		statements = append(statements, s)
		return true
	})
	g.isolated[session] = &isolatedQueue{statements: statements}
	go g.runIsolated(session) // ends when the queue is empty; every caller waits for its own statement
}

// runIsolated runs the isolated statements of a session in order, each in its own transaction. A
// statement that cannot get its lock runs again until isolatedLockWait is over.
func (g *groupCommit) runIsolated(session SessionKey) {
	for {
		g.slots <- struct{}{}
		s := g.nextIsolated(session)
		if s == nil {
			<-g.slots
			return
		}
		if s.firstIsolatedRun.IsZero() {
			s.firstIsolatedRun = time.Now()
		}
		ctx, cancel := context.WithTimeout(context.Background(), isolatedTime)
		results, _, err := commit(ctx, g.isolatedPool, []*statement{s}, batchLockTimeout)
		cancel()
		<-g.slots
		switch {
		case err == nil:
			s.batchSize = 1
			s.finish(translate(results[0]))
		case (isLockTimeout(err) || lostRace(err)) && time.Since(s.firstIsolatedRun) < isolatedLockWait:
			g.mu.Lock()
			g.markWaiting(s)
			queue := g.isolated[session]
			queue.statements = slices.Insert(queue.statements, 0, s)
			g.mu.Unlock()
		case isStatementError(err):
			s.finish(translate(err))
		default:
			s.finish(inDoubt(err))
		}
	}
}

// nextIsolated removes the oldest isolated statement of a session. It returns nil when none is
// left; the session is then no longer isolated.
func (g *groupCommit) nextIsolated(session SessionKey) *statement {
	g.mu.Lock()
	defer g.mu.Unlock()
	queue := g.isolated[session]
	for len(queue.statements) > 0 {
		s := queue.statements[0]
		queue.statements = queue.statements[1:]
		if !s.isTaken { // otherwise abandoned
			g.markTaken(s)
			return s
		}
	}
	delete(g.isolated, session)
	return nil
}
