package run

// LiveReplies returns how many replies are kept in memory.
func (d *Dispatcher) LiveReplies() int {
	d.live.mu.Lock()
	defer d.live.mu.Unlock()
	return len(d.live.byRun)
}
