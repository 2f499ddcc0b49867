package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"parley/e2e/harness"
)

// errNotRun is returned for a fault that cannot be injected on this machine.
var errNotRun = errors.New("not run")

const (
	warmUp = 1500 * time.Millisecond
	// loadAfterFault is how long the load continues after the fault.
	loadAfterFault = 2 * time.Second
	// answerTime is how long questions may wait for their replies after the load: until a lease has expired, or until
	// a silent model server times out.
	answerTime = 100 * time.Second
	idleTime   = 30 * time.Second
)

// result is the result of one fault.
type result struct {
	*checkResult
	fault   fault
	lasted  time.Duration
	notRun  error  // why it was not injected
	notIdle string // resources that a server did not release
}

func (r result) isViolated() bool {
	return r.notRun == nil && (r.violations() > 0 || r.notIdle != "")
}

// run injects a fault into a deployment under load and checks the guarantees.
func (s *suite) run(ctx context.Context, f fault, o options) (_ result, err error) {
	r := result{fault: f}
	d, err := s.deploy(ctx, f.name, o.seed, f.megabytes)
	if errors.Is(err, errNotRun) {
		r.notRun = err
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	job, err := d.prepare(ctx, o, 30*time.Millisecond)
	if err != nil {
		return r, err
	}
	load, err := startLoad(ctx, job)
	if err != nil {
		return r, err
	}
	defer load.kill()
	toCheck := job.checkJob(d)
	if err := sleep(ctx, warmUp); err != nil {
		return r, err
	}
	toCheck.Began = time.Now()
	if err := f.inject(ctx, d, o.isShort); errors.Is(err, errNotRun) {
		r.notRun = err
		return r, nil
	} else if err != nil {
		return r, err
	}
	toCheck.Ended = time.Now()
	r.lasted = toCheck.Ended.Sub(toCheck.Began)
	if toCheck.Seqs, err = d.lastSeqs(ctx); err != nil {
		return r, err
	}
	if err := sleep(ctx, loadAfterFault); err != nil {
		return r, err
	}
	if err := d.finish(ctx, load); err != nil {
		return r, err
	}
	if err := d.awaitIdle(ctx); err != nil {
		r.notIdle = err.Error()
	}
	checked, err := harness.RunWorker[checkResult](ctx, "checker", toCheck)
	if err != nil {
		return r, err
	}
	r.checkResult = &checked
	return r, d.checkLogs(&checked)
}

// awaitIdle waits until both servers hold no more resources than at startup.
func (d *deployment) awaitIdle(ctx context.Context) error {
	return waitFor(ctx, idleTime, "become idle", func() error {
		return errors.Join(d.servers[0].checkIdle(ctx), d.servers[1].checkIdle(ctx))
	})
}

// checkLogs counts panics, fatal errors and data races in the servers' logs as violations.
func (d *deployment) checkLogs(r *checkResult) error {
	paths, err := filepath.Glob(filepath.Join(d.dir, filepath.Base(d.program)+"-*.log"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		logged, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(logged)) {
			if strings.Contains(line, "panic: ") || strings.Contains(line, "fatal error: ") || strings.Contains(line, "DATA RACE") {
				r.add(&r.Wrong, "a server logged: %.300s", line)
			}
		}
	}
	return nil
}

// finish ends the load: no new requests are sent, every question is answered, and the devices catch up.
func (d *deployment) finish(ctx context.Context, load *loadProcess) error {
	if err := load.do(true); err != nil {
		return fmt.Errorf("end the load: %w", err)
	}
	_ = waitFor(ctx, answerTime, "answer all questions", func() error { // the checker reports unanswered questions
		n, err := d.queryInt(ctx, "SELECT count(*) FROM runs WHERE state IN ('queued', 'running')")
		if err == nil && n > 0 {
			err = fmt.Errorf("%d runs have not ended", n)
		}
		return err
	})
	seqs, err := d.lastSeqs(ctx)
	if err != nil {
		return err
	}
	if err := load.do(catchUp{seqs}); err != nil {
		return fmt.Errorf("let the devices catch up: %w", err)
	}
	return nil
}

// lastSeqs returns the last seq of each conversation.
func (d *deployment) lastSeqs(ctx context.Context) (map[string]int64, error) {
	seqs := map[string]int64{}
	if _, err := d.queryInt(ctx, "SELECT 1"); err != nil { // reconnects if necessary
		return nil, err
	}
	rows, err := d.conn.Query(ctx, "SELECT id::text, last_seq FROM sessions")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var seq int64
		if err := rows.Scan(&id, &seq); err != nil {
			return nil, err
		}
		seqs[id] = seq
	}
	return seqs, rows.Err()
}
