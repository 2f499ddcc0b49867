package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"parley/e2e/harness"
)

// sampleInterval is the time between two samples, and the period over which latencies are taken.
const sampleInterval = 10 * time.Second

// soak puts two servers under a mixed load and checks that nothing grows.
func soak(ctx context.Context, o options) (_ report, err error) {
	s, err := newSuite(ctx, o.parent)
	if s != nil && !o.keep {
		defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	}
	if err != nil {
		return report{}, err
	}
	d, err := s.deploy(ctx, "soak", o.seed, 0)
	if err != nil {
		return report{}, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	job, err := d.prepare(ctx, o, 100*time.Millisecond)
	if err != nil {
		return report{}, err
	}
	load, err := startLoad(ctx, job)
	if err != nil {
		return report{}, err
	}
	defer load.kill()
	logf("sampling for %s", o.soak)
	all, samples, err := d.sample(ctx, o.soak)
	if err != nil {
		return report{}, err
	}
	toCheck := job.checkJob(d)
	toCheck.Began, toCheck.Ended = samples[0], samples[len(samples)-1]
	if err := d.finish(ctx, load); err != nil {
		return report{}, err
	}
	notIdle := d.awaitIdle(ctx)
	checked, err := harness.RunWorker[checkResult](ctx, "checker", toCheck)
	if err != nil {
		return report{}, err
	}
	if err := d.checkLogs(&checked); err != nil {
		return report{}, err
	}
	latencies, err := readLatencies(job.Journal, samples)
	if err != nil {
		return report{}, err
	}
	return soakReport(o, append(all, latencies...), toCheck, checked, notIdle)
}

// sample samples both servers and the database until the duration is over. A warm-up is left out.
func (d *deployment) sample(ctx context.Context, duration time.Duration) (all []*trend, samples []time.Time, err error) {
	warmUp := min(5*time.Minute, duration/3)
	if err := sleep(ctx, warmUp); err != nil {
		return nil, nil, err
	}
	connections := &trend{what: "connections to PostgreSQL", scale: 1, limit: 4}
	all = append(all, connections)
	byServer := map[*server][]*trend{}
	for _, s := range d.servers {
		byServer[s] = []*trend{
			{what: "resident memory of " + s.name, unit: "MB", scale: 1e-6, limit: 32},
			{what: "goroutines of " + s.name, scale: 1, limit: 20},
			{what: "descriptors of " + s.name, scale: 1, limit: 20},
		}
		all = append(all, byServer[s]...)
	}
	ticker := time.NewTicker(sampleInterval)
	defer ticker.Stop()
	for start := time.Now(); time.Since(start) < duration-warmUp; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		samples = append(samples, time.Now())
		for s, trends := range byServer {
			now, err := s.readMetrics(ctx)
			if err != nil {
				return nil, nil, fmt.Errorf("read the metrics of server %s: %w", s.name, err)
			}
			for i, name := range []string{resident, goroutines, descriptors} {
				trends[i].values = append(trends[i].values, now[name])
			}
		}
		n, err := d.queryInt(ctx, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'parley'")
		if err != nil {
			return nil, nil, err
		}
		connections.values = append(connections.values, float64(n))
	}
	if len(samples) < 6 {
		return nil, nil, errors.New("a soak test needs at least a minute and a half")
	}
	return all, samples, nil
}

// readLatencies returns the latencies of the messages that were acknowledged between two samples.
func readLatencies(journal string, samples []time.Time) ([]*trend, error) {
	p50 := &trend{what: "latency of a message, p50", unit: "ms", scale: 1e3, limit: 0.5, isRelative: true}
	p99 := &trend{what: "latency of a message, p99", unit: "ms", scale: 1e3, limit: 1, isRelative: true}
	latencies := make([][]float64, len(samples))
	err := readJournal(journal, func(e entry) {
		if i, _ := slices.BinarySearchFunc(samples, e.At, time.Time.Compare); e.Took > 0 && i > 0 && i < len(samples) {
			latencies[i] = append(latencies[i], e.Took.Seconds())
		}
	})
	for _, period := range latencies[1:] {
		slices.Sort(period)
		if len(period) > 0 {
			p50.values, p99.values = append(p50.values, period[len(period)/2]), append(p99.values, period[len(period)*99/100])
		}
	}
	return []*trend{p50, p99}, err
}

// soakReport returns the table of all trends. A value grows if its slope exceeds the bound even
// after subtracting the margin of error.
func soakReport(o options, all []*trend, job checkJob, r checkResult, notIdle error) (report, error) {
	table := harness.Table{{"what", "first quarter", "last quarter", "slope per hour", "±", "bound", "verdict"}}
	var violated error
	for _, t := range all {
		perHour, margin := t.slope()
		quarter := max(1, len(t.values)/4)
		verdict := "holds"
		switch {
		case perHour-margin > t.bound():
			verdict, violated = "GROWS", errViolated
		case perHour+margin > t.bound():
			verdict = "inconclusive"
		}
		figure := func(value float64) string { return fmt.Sprintf("%.1f %s", value, t.unit) }
		table = append(table, []string{
			t.what, figure(mean(t.values[:quarter]) * t.scale), figure(mean(t.values[len(t.values)-quarter:]) * t.scale),
			figure(perHour), figure(margin), figure(t.bound()), verdict,
		})
	}
	head := fmt.Sprintf("%s on %d cores, %s, seed %d; two servers, %d requests (%.0f/s), %d messages acknowledged, %d replies.\n",
		o.soak, runtime.NumCPU(), runtime.Version(), o.seed, r.Requests, float64(r.RequestsDuring)/job.Ended.Sub(job.Began).Seconds(), r.Acked, r.Answers)
	head += fmt.Sprintf("Lost %d, duplicated %d, gaps %d, unanswered %d, wrong %d", r.Lost, r.Duplicated, r.Gaps, r.Unanswered, r.Wrong)
	if refusals := r.refusals(); refusals != "" {
		head += "; refused: " + refusals
	}
	head += ".\n"
	if notIdle != nil {
		head += notIdle.Error() + "\n"
	}
	for _, example := range r.Examples {
		logf("  %s", example)
	}
	if notIdle != nil || r.violations() > 0 {
		violated = errViolated
	}
	return report{head + "\n" + table.Text(), head + "\n" + table.Markdown()}, violated
}
