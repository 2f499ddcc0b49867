package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"parley/e2e/harness"
)

// injectFaults injects the selected faults and returns the table.
func injectFaults(ctx context.Context, o options) (_ report, err error) {
	start := time.Now()
	s, err := newSuite(ctx, o.parent)
	if s != nil && !o.keep {
		defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	}
	if err != nil {
		return report{}, err
	}
	if o.keep {
		logf("keeping everything in %s", s.dir)
	}
	all, err := s.runAll(ctx, o)
	if err != nil {
		return report{}, err
	}
	r := faultReport(o, all, time.Since(start))
	if slices.ContainsFunc(all, result.isViolated) {
		return r, errViolated
	}
	return r, nil
}

// runAll injects the selected faults, o.parallel at a time.
func (s *suite) runAll(ctx context.Context, o options) ([]result, error) {
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	selected := o.selected()
	all, slots := make([]result, len(selected)), make(chan struct{}, o.parallel)
	var runs sync.WaitGroup
	for i, f := range selected {
		slots <- struct{}{}
		runs.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			logf("%s: %s", f.name, f.description)
			r, err := s.run(ctx, f, o)
			if err != nil {
				abort(fmt.Errorf("%s: %w", f.name, err))
				return
			}
			r.log()
			all[i] = r
		})
	}
	runs.Wait()
	return all, context.Cause(ctx)
}

// selected returns the faults to inject.
func (o options) selected() []fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f fault) bool {
		if len(o.only) > 0 {
			return !slices.ContainsFunc(o.only, func(word string) bool { return strings.Contains(f.name, word) })
		}
		return o.isShort && f.short == 0
	})
}

func (r result) verdict() string {
	switch {
	case r.notIdle != "":
		return "VIOLATED: " + r.notIdle
	case r.isViolated():
		return "VIOLATED"
	}
	return "held"
}

// log reports the result with examples of violations.
func (r result) log() {
	if r.notRun != nil {
		logf("%s: %v", r.fault.name, r.notRun)
		return
	}
	for _, example := range r.Examples {
		logf("%s: %s", r.fault.name, example)
	}
	logf("%s: %s: %d of %d messages acknowledged during the fault, caught up after %s, answered after %s; refused: %s",
		r.fault.name, r.verdict(), r.AckedDuring, r.Acked, seconds(r.Slowest), seconds(r.LastAnswer), r.refusals())
}

// faultReport returns the table of all results.
func faultReport(o options, all []result, took time.Duration) report {
	table := harness.Table{{
		"fault", "seed", "lasted", "requests/s", "acked", "stored", "refused", "lost", "duplicated", "gaps", "late", "unanswered", "wrong",
		"caught up", "answered", "answers", "failed", "rescued", "verdict",
	}}
	injected, acked, violated := 0, 0, 0
	for _, r := range all {
		if r.notRun != nil {
			row := make([]string, len(table[0]))
			row[0], row[len(row)-1] = r.fault.name, r.notRun.Error()
			table = append(table, row)
			continue
		}
		injected++
		acked += r.Acked
		if r.isViolated() {
			violated++
		}
		table = append(table, []string{
			r.fault.name, fmt.Sprint(o.seed), seconds(r.lasted), fmt.Sprintf("%.0f", float64(r.RequestsDuring)/max(r.lasted.Seconds(), 0.001)),
			fmt.Sprintf("%d of %d", r.AckedDuring, r.Acked), fmt.Sprint(r.Stored), r.refusals(),
			fmt.Sprint(r.Lost), fmt.Sprint(r.Duplicated), fmt.Sprint(r.Gaps), fmt.Sprint(r.Late), fmt.Sprint(r.Unanswered), fmt.Sprint(r.Wrong),
			seconds(r.Slowest), seconds(r.LastAnswer), fmt.Sprint(r.Answers), fmt.Sprint(r.Failed), fmt.Sprint(r.Rescued), r.verdict(),
		})
	}
	head := fmt.Sprintf("%d faults in %s, %d at a time, %d cores, %s, seed %d: %d messages acknowledged, %d faults with violations.\n",
		injected, took.Round(time.Second), o.parallel, runtime.NumCPU(), runtime.Version(), o.seed, acked, violated)
	return report{head + "\n" + table.Text(), head + "\n" + table.Markdown()}
}

func seconds(d time.Duration) string {
	if d <= 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
