package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"time"

	"parley/e2e/harness"
)

// sampleTime is between two looks at the servers, and how long the messages are sent that
// a latency is taken of.
const sampleTime = 10 * time.Second

// growth is something that must not grow: what it was at each look.
type growth struct {
	what   string
	unit   string
	scale  float64 // of the values, to the unit
	most   float64 // of the slope in an hour, in the unit; as a part of the mean where isPart
	isPart bool
	values []float64
}

// soak puts two servers under a mixed load, and tells whether anything of them grows.
func soak(ctx context.Context, o options) (_ report, err error) {
	t, err := open(ctx, o.parent)
	if t != nil && !o.keep {
		defer func() { err = errors.Join(err, os.RemoveAll(t.dir)) }()
	}
	if err != nil {
		return report{}, err
	}
	w, err := t.begin(ctx, "soak", o.seed, 0)
	if err != nil {
		return report{}, err
	}
	defer func() { err = errors.Join(err, w.end()) }()
	j, err := w.prepare(ctx, o, 100*time.Millisecond)
	if err != nil {
		return report{}, err
	}
	load, err := startLoad(ctx, j)
	if err != nil {
		return report{}, err
	}
	defer load.kill()
	say("for %s nothing may grow", o.soak)
	all, looks, err := w.watch(ctx, o.soak)
	if err != nil {
		return report{}, err
	}
	judged := trial{Journal: j.Journal, Database: w.postgres.url(w.postgres.port), Devices: j.devices(), Models: j.answeredBy("model"), Began: looks[0], Ended: looks[len(looks)-1]}
	if err := w.rest(ctx, load); err != nil {
		return report{}, err
	}
	unrest := until(ctx, restTime, "come to rest", func() error {
		return errors.Join(w.servers[0].atRest(ctx), w.servers[1].atRest(ctx))
	})
	found, err := harness.Ask[judgement](ctx, "judge", judged)
	if err != nil {
		return report{}, err
	}
	if err := w.checkLogs(&found); err != nil {
		return report{}, err
	}
	latencies, err := latenciesOf(j.Journal, looks)
	if err != nil {
		return report{}, err
	}
	return soaked(o, judged, append(all, latencies...), found, unrest)
}

// watch looks at both servers and at the database for so long. What comes before they have
// warmed up is left out.
func (w *world) watch(ctx context.Context, duration time.Duration) (all []*growth, looks []time.Time, err error) {
	warm := min(5*time.Minute, duration/3)
	if err := pause(ctx, warm); err != nil {
		return nil, nil, err
	}
	connections := &growth{what: "connections to PostgreSQL", scale: 1, most: 4}
	all = append(all, connections)
	byServer := map[*server][]*growth{}
	for _, s := range w.servers {
		byServer[s] = []*growth{
			{what: "resident memory of " + s.name, unit: "MB", scale: 1e-6, most: 32},
			{what: "goroutines of " + s.name, scale: 1, most: 20},
			{what: "descriptors of " + s.name, scale: 1, most: 20},
		}
		all = append(all, byServer[s]...)
	}
	ticker := time.NewTicker(sampleTime)
	defer ticker.Stop()
	for began := time.Now(); time.Since(began) < duration-warm; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		looks = append(looks, time.Now())
		for s, of := range byServer {
			now, err := s.vitals(ctx)
			if err != nil {
				return nil, nil, fmt.Errorf("look at server %s: %w", s.name, err)
			}
			for i, name := range []string{resident, goroutines, descriptors} {
				of[i].values = append(of[i].values, now[name])
			}
		}
		n, err := w.number(ctx, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'parley'")
		if err != nil {
			return nil, nil, err
		}
		connections.values = append(connections.values, float64(n))
	}
	if len(looks) < 6 {
		return nil, nil, errors.New("less than a minute and a half tells nothing of what grows")
	}
	return all, looks, nil
}

// latenciesOf are those of the messages that were acknowledged between two looks.
func latenciesOf(journal string, looks []time.Time) ([]*growth, error) {
	middle := &growth{what: "latency of a message, p50", unit: "ms", scale: 1e3, most: 0.5, isPart: true}
	worst := &growth{what: "latency of a message, p99", unit: "ms", scale: 1e3, most: 1, isPart: true}
	took := make([][]float64, len(looks))
	err := readJournal(journal, func(one entry) {
		if at, _ := slices.BinarySearchFunc(looks, one.At, time.Time.Compare); one.Took > 0 && at > 0 && at < len(looks) {
			took[at] = append(took[at], one.Took.Seconds())
		}
	})
	for _, some := range took[1:] {
		slices.Sort(some)
		if len(some) > 0 {
			middle.values, worst.values = append(middle.values, some[len(some)/2]), append(worst.values, some[len(some)*99/100])
		}
	}
	return []*growth{middle, worst}, err
}

// slope is by how much the values grow in an hour, and how far that may be off, by two
// standard errors: it is that of the line with the least squares. Values that follow their
// neighbours tell less than as many that do not.
func (g *growth) slope() (perHour, off float64) {
	n := float64(len(g.values))
	meanX, meanY := (n-1)/2, mean(g.values)
	var xx, xy float64
	for i, y := range g.values {
		x := float64(i) - meanX
		xx, xy = xx+x*x, xy+x*(y-meanY)
	}
	b := xy / xx
	var squares, neighbours, before float64
	for i, y := range g.values {
		rest := y - meanY - b*(float64(i)-meanX)
		squares += rest * rest
		if i > 0 {
			neighbours += rest * before
		}
		before = rest
	}
	follow := 0.0
	if squares > 0 {
		follow = min(max(neighbours/squares, 0), 0.95)
	}
	independent := max(n*(1-follow)/(1+follow), 4)
	scale := g.scale * float64(time.Hour/sampleTime)
	return b * scale, 2 * math.Sqrt(squares/(independent-2)/xx*n/independent) * scale
}

func mean(values []float64) float64 {
	var sum float64
	for _, one := range values {
		sum += one
	}
	return sum / float64(len(values))
}

// bound is how much it may grow in an hour.
func (g *growth) bound() float64 {
	if g.isPart {
		return g.most * mean(g.values) * g.scale
	}
	return g.most
}

// soaked shows what has grown. A slope counts when it is beyond its bound even where it is
// off by as much as it may be.
func soaked(o options, judged trial, all []*growth, j judgement, unrest error) (report, error) {
	g := harness.Grid{{"what", "first quarter", "last quarter", "slope per hour", "±", "bound", "verdict"}}
	var violated error
	for _, one := range all {
		perHour, off := one.slope()
		quarter := max(1, len(one.values)/4)
		verdict := "holds"
		switch {
		case perHour-off > one.bound():
			verdict, violated = "GROWS", errViolated
		case perHour+off > one.bound():
			verdict = "holds, as far as can be told"
		}
		figure := func(value float64) string { return fmt.Sprintf("%.1f %s", value, one.unit) }
		g = append(g, []string{
			one.what, figure(mean(one.values[:quarter]) * one.scale), figure(mean(one.values[len(one.values)-quarter:]) * one.scale),
			figure(perHour), figure(off), figure(one.bound()), verdict,
		})
	}
	head := fmt.Sprintf("%s on %d cores, %s, seed %d; two servers, %d requests (%.0f/s), %d messages acknowledged, %d replies.\n",
		o.soak, runtime.NumCPU(), runtime.Version(), o.seed, j.Requests, float64(j.RequestsDuring)/judged.Ended.Sub(judged.Began).Seconds(), j.Told, j.Answers)
	head += fmt.Sprintf("Lost %d, twice %d, gaps %d, unanswered %d, wrong %d; refused: %s.\n", j.Lost, j.Twice, j.Gaps, j.Unanswered, j.Wrong, j.refusals())
	if unrest != nil {
		head += unrest.Error() + "\n"
	}
	for _, one := range j.Examples {
		say("  %s", one)
	}
	if unrest != nil || j.violations() > 0 {
		violated = errViolated
	}
	return report{head + "\n" + g.Text(), head + "\n" + g.Markdown()}, violated
}
