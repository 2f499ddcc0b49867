package wsapi

import "sync"

// workerPool runs the jobs of all sockets on a bounded number of goroutines. That costs less CPU than
// a writer goroutine for each socket.
//
// A slow socket never delays the others: a job that may block calls block, and another worker takes
// its place until block returns. Workers exit when no jobs are left, so an idle pool has no goroutines.
type workerPool struct {
	size int // how many workers run at once; must be positive

	mu     sync.Mutex
	jobs   []func()
	active int // workers that are not inside block
}

// submit queues a job. It never blocks.
func (p *workerPool) submit(job func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs = append(p.jobs, job)
	p.startWorker()
}

// startWorker starts another worker if there are jobs and fewer than size workers are active. The
// caller holds p.mu.
func (p *workerPool) startWorker() {
	if p.active < p.size && len(p.jobs) > 0 {
		p.active++
		go p.work()
	}
}

// work runs jobs until none are left, or until a worker that returned from block exceeds the size.
// Sockets wait for their own jobs (socket.goroutines), so nothing else waits for the workers.
func (p *workerPool) work() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.jobs) > 0 && p.active <= p.size {
		job := p.jobs[0]
		p.jobs[0] = nil
		if p.jobs = p.jobs[1:]; len(p.jobs) == 0 {
			p.jobs = nil
		}
		p.mu.Unlock()
		job()
		p.mu.Lock()
	}
	p.active--
}

// block runs fn, which may block, without occupying a worker of the pool.
//
// A reader that writes a control frame calls it from outside the pool. Then one more worker than size
// is active meanwhile, which is harmless.
func (p *workerPool) block(fn func()) {
	p.mu.Lock()
	p.active--
	p.startWorker()
	p.mu.Unlock()
	fn()
	p.mu.Lock()
	p.active++
	p.mu.Unlock()
}
