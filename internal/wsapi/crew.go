package wsapi

import "sync"

// crew is the goroutines that write. Few of them work at once, from one socket to the
// next, which takes less of the processor than one for each; but nobody waits for
// anybody: who has to wait, for a client, a reply or the database, says so, and another
// one works in its place. Without work there is no crew. The zero crew needs a size.
type crew struct {
	size int // how many work at once

	mu      sync.Mutex
	jobs    []func()
	working int
}

// hand gives the crew a job. It never waits.
func (c *crew) hand(job func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs = append(c.jobs, job)
	c.hire()
}

// hire has one more work, if there is something to do. The caller holds the lock.
func (c *crew) hire() {
	if c.working < c.size && len(c.jobs) > 0 {
		c.working++
		go c.work()
	}
}

// work does one job after the other; those who hand them in wait for them.
func (c *crew) work() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.jobs) > 0 && c.working <= c.size {
		job := c.jobs[0]
		c.jobs[0] = nil
		if c.jobs = c.jobs[1:]; len(c.jobs) == 0 {
			c.jobs = nil
		}
		c.mu.Unlock()
		job()
		c.mu.Lock()
	}
	c.working--
}

// wait runs, within a job, what may take its time. (A control frame that the reader or
// the clock writes may have to wait here too; as long, one more works.)
func (c *crew) wait(fn func()) {
	c.mu.Lock()
	c.working--
	c.hire()
	c.mu.Unlock()
	fn()
	c.mu.Lock()
	c.working++
	c.mu.Unlock()
}
