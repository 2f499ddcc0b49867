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

// bench is a run: what was started, and what was measured so far.
type bench struct {
	*stack
	options
	pgbench pgbench
	scripts struct {
		send    []string // one for each of the texts
		history string
	}
	round int               // begun so far, the one that does not count among them
	taken map[string]sample // in this round
	frame []byte            // what a delivery has last brought
	bots  bots
}

// all are the rows, in the order of BENCHMARKS.md.
func (b *bench) all() []row {
	return []row{
		b.sends(), b.exchanges(), b.sendsAlone(), b.stops(), b.histories(), b.pages(), b.recordPages(), b.exports(),
		b.exportsOfAll(), b.fanOuts(), b.idleSockets(), b.streams(), b.searches(),
	}
}

// chosen are those of all that are to be measured.
func (b *bench) chosen() []row {
	return slices.DeleteFunc(b.all(), func(r row) bool { return len(b.rows) > 0 && !slices.Contains(b.rows, r.number) })
}

// measureRows measures the rows that were chosen, and returns the table.
func measureRows(ctx context.Context, o options) (_ report, err error) {
	b, err := begin(ctx, o)
	if err != nil {
		return report{}, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	rows, to := b.chosen(), seeds{messages: o.size}
	if slices.ContainsFunc(rows, func(r row) bool { return r.ofRecords }) {
		to.records = o.records
	}
	if err := b.seed(ctx, to); err != nil {
		return report{}, fmt.Errorf("put the data in: %w", err)
	}
	machine, err := b.machine(ctx)
	if err != nil {
		return report{}, err
	}
	for _, r := range rows {
		if r.prepare != nil {
			if err := r.prepare(ctx); err != nil {
				return report{}, fmt.Errorf("prepare row %s: %w", r.number, err)
			}
		}
	}
	found := make([][]series, len(rows))
	for i, r := range rows {
		found[i] = make([]series, len(r.lines))
	}
	// Round 0 warms up and does not count.
	for b.round = range o.rounds + 1 {
		if err := b.measureRound(ctx, rows, found); err != nil {
			return report{}, err
		}
	}
	for i, r := range rows {
		if r.most == 1 {
			if err := b.measureRow(ctx, r, o.seconds, found[i]); err != nil {
				return report{}, err
			}
		}
	}
	return b.table(machine, to, rows, found), nil
}

func (b *bench) measureRound(ctx context.Context, rows []row, found [][]series) error {
	b.taken = map[string]sample{}
	for i, r := range rows {
		var err error
		switch {
		case r.most == 1, b.round == 0 && r.isWarm:
		case b.round == 0:
			err = b.measureRow(ctx, r, 1, make([]series, len(r.lines)))
		case r.most == 0 || b.round <= r.most:
			err = b.measureRow(ctx, r, b.seconds, found[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) measureRow(ctx context.Context, r row, seconds int, into []series) error {
	b.say("round %d of %d: row %s", b.round, b.rounds, r.number)
	findings, err := r.measure(ctx, seconds)
	if err != nil {
		return fmt.Errorf("row %s: %w", r.number, err)
	}
	for i, one := range findings {
		into[i] = append(into[i], one)
	}
	return nil
}

// say tells who waits what is done.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// once measures what several rows need once in a round.
func (b *bench) once(what string, measure func() (sample, error)) (sample, error) {
	if taken, ok := b.taken[what]; ok {
		return taken, nil
	}
	measured, err := measure()
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", what, err)
	}
	b.taken[what] = measured
	return measured, nil
}

// overHTTP measures what a load costs a server.
func (b *bench) overHTTP(ctx context.Context, server *harness.Process, seconds int, j job) (sample, error) {
	j = b.addressed(server, seconds, j)
	var f found
	used, err := b.cost(server, func() (err error) {
		f, err = harness.RunWorker[found](ctx, "load", j)
		return err
	})
	return f.sample(used), err
}

// addressed completes a job.
func (b *bench) addressed(server *harness.Process, seconds int, j job) job {
	if j.Keys == nil {
		j.Keys = b.keys
	}
	j.Base, j.Duration, j.Seed = server.Base, time.Duration(seconds)*time.Second, uint64(b.round)
	return j
}

func (f found) sample(used cost) sample {
	return sample{
		note: f.Note, rate: float64(f.Requests) / max(f.Elapsed.Seconds(), 0.001), p50: f.P50, p99: f.P99, requests: f.Requests,
		server: perOperation(used.server, f.Requests), postgres: perOperation(used.postgres, f.Requests),
	}
}

func perOperation(used time.Duration, count int) float64 {
	return float64(used.Microseconds()) / float64(max(1, count))
}

// compare measures two loads one after the other.
func (b *bench) compare(ctx context.Context, seconds int, ours, against job) (one, other sample, err error) {
	if other, err = b.overHTTP(ctx, b.server, seconds, against); err != nil {
		return one, other, err
	}
	one, err = b.overHTTP(ctx, b.server, seconds, ours)
	return one, other, err
}

// slower compares two loads by their medians of latency.
func (b *bench) slower(ctx context.Context, seconds int, ours, against job) (finding, error) {
	one, other, err := b.compare(ctx, seconds, ours, against)
	return finding{float64(one.p50) / float64(other.p50), one, other}, err
}
