package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"parley/e2e/harness"
)

// bench is a run: its processes and its measurements so far.
type bench struct {
	*stack
	options
	pgbench pgbench
	scripts struct {
		send    []string // one for each of the texts
		history string
	}
	round     int               // the current round; 0 warms up
	thisRound map[string]sample // measurements that several rows share
	frame     []byte            // the last frame that a server delivered
	bots      bots
}

// allRows returns the rows in the order of BENCHMARKS.md.
func (b *bench) allRows() []row {
	return []row{
		b.rowSend(), b.rowExchange(), b.rowSendAlone(), b.rowCrash(), b.rowHistory(), b.rowPages(), b.rowRecords(), b.rowExport(),
		b.rowLargeExport(), b.rowFanOut(), b.rowIdleSockets(), b.rowStreams(), b.rowSearch(),
	}
}

// selectedRows returns the rows to measure.
func (b *bench) selectedRows() []row {
	return slices.DeleteFunc(b.allRows(), func(r row) bool { return len(b.rows) > 0 && !slices.Contains(b.rows, r.number) })
}

// measureRows measures the selected rows and returns the table.
func measureRows(ctx context.Context, o options) (_ report, err error) {
	b, err := newBench(ctx, o)
	if err != nil {
		return report{}, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	rows, size := b.selectedRows(), dataSize{messages: o.size}
	if slices.ContainsFunc(rows, func(r row) bool { return r.needsRecords }) {
		size.records = o.records
	}
	if err := b.seed(ctx, size); err != nil {
		return report{}, fmt.Errorf("seed the database: %w", err)
	}
	machine, err := b.machine(ctx)
	if err != nil {
		return report{}, err
	}
	results := make([][]series, len(rows))
	for i, r := range rows {
		results[i] = make([]series, len(r.lines))
		if r.prepare != nil {
			if err := r.prepare(ctx); err != nil {
				return report{}, fmt.Errorf("prepare row %s: %w", r.number, err)
			}
		}
	}
	// Round 0 warms up and does not count.
	for b.round = range o.rounds + 1 {
		if err := b.measureRound(ctx, rows, results); err != nil {
			return report{}, err
		}
	}
	for i, r := range rows {
		if r.maxRounds == 1 {
			if err := b.measureRow(ctx, r, o.seconds, results[i]); err != nil {
				return report{}, err
			}
		}
	}
	return b.table(machine, size, rows, results), nil
}

func (b *bench) measureRound(ctx context.Context, rows []row, results [][]series) error {
	b.thisRound = map[string]sample{}
	for i, r := range rows {
		var err error
		switch {
		case r.maxRounds == 1, b.round == 0 && r.skipWarmUp:
		case b.round == 0:
			err = b.measureRow(ctx, r, 1, make([]series, len(r.lines)))
		case r.maxRounds == 0 || b.round <= r.maxRounds:
			err = b.measureRow(ctx, r, b.seconds, results[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) measureRow(ctx context.Context, r row, seconds int, into []series) error {
	b.logf("round %d of %d: row %s", b.round, b.rounds, r.number)
	measurements, err := r.measure(ctx, seconds)
	if err != nil {
		return fmt.Errorf("row %s: %w", r.number, err)
	}
	for i, m := range measurements {
		into[i] = append(into[i], m)
	}
	return nil
}

// logf reports progress on standard error.
func (b *bench) logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// oncePerRound measures something that several rows need, once in each round.
func (b *bench) oncePerRound(what string, measure func() (sample, error)) (sample, error) {
	if s, ok := b.thisRound[what]; ok {
		return s, nil
	}
	s, err := measure()
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", what, err)
	}
	b.thisRound[what] = s
	return s, nil
}

// measureLoad measures the cost of a load on a server.
func (b *bench) measureLoad(ctx context.Context, server *harness.Process, seconds int, job loadJob) (sample, error) {
	job = b.complete(server, seconds, job)
	var result loadResult
	used, err := b.measureCPU(server, func() (err error) {
		result, err = harness.RunWorker[loadResult](ctx, "load", job)
		return err
	})
	return result.sample(used), err
}

// complete fills in the fields that all jobs have in common.
func (b *bench) complete(server *harness.Process, seconds int, job loadJob) loadJob {
	if job.Keys == nil {
		job.Keys = b.keys
	}
	job.Base, job.Duration, job.Seed = server.Base, time.Duration(seconds)*time.Second, uint64(b.round)
	return job
}

// sample returns the result with the cost of each request.
func (r loadResult) sample(used cpuTime) sample {
	return sample{
		note: r.Note, rate: float64(r.Requests) / max(r.Elapsed.Seconds(), 0.001), p50: r.P50, p99: r.P99, requests: r.Requests,
		server: perOperation(used.server, r.Requests), postgres: perOperation(used.postgres, r.Requests),
	}
}

// perOperation returns microseconds of CPU time.
func perOperation(used time.Duration, count int) float64 {
	return float64(used.Microseconds()) / float64(max(1, count))
}

// compareLatency measures two loads, one after the other, and compares their median latencies.
func (b *bench) compareLatency(ctx context.Context, seconds int, job, referenceJob loadJob) (measurement, error) {
	reference, err := b.measureLoad(ctx, b.server, seconds, referenceJob)
	if err != nil {
		return measurement{}, err
	}
	ours, err := b.measureLoad(ctx, b.server, seconds, job)
	return measurement{float64(ours.p50) / float64(reference.p50), ours, reference}, err
}
