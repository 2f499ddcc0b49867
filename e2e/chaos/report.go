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

// tryFaults tries those that were chosen, one after the other, and returns the table.
func tryFaults(ctx context.Context, o options) (_ report, err error) {
	began := time.Now()
	t, err := open(ctx, o.parent)
	if t != nil && !o.keep {
		defer func() { err = errors.Join(err, os.RemoveAll(t.dir)) }()
	}
	if err != nil {
		return report{}, err
	}
	if o.keep {
		say("all is kept in %s", t.dir)
	}
	all, err := t.tryAll(ctx, o)
	if err != nil {
		return report{}, err
	}
	r := tabled(o, all, time.Since(began))
	if slices.ContainsFunc(all, finding.isViolated) {
		return r, errViolated
	}
	return r, nil
}

// tryAll tries the faults that were chosen, so many at once.
func (t *theatre) tryAll(ctx context.Context, o options) ([]finding, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	chosen := o.chosen()
	all, places := make([]finding, len(chosen)), make(chan struct{}, o.atOnce)
	var trials sync.WaitGroup
	for i, f := range chosen {
		places <- struct{}{}
		trials.Go(func() {
			defer func() { <-places }()
			if ctx.Err() != nil {
				return
			}
			say("%s: %s", f.name, f.what)
			found, err := t.try(ctx, f, o)
			if err != nil {
				giveUp(fmt.Errorf("%s: %w", f.name, err))
				return
			}
			found.tell()
			all[i] = found
		})
	}
	trials.Wait()
	return all, context.Cause(ctx)
}

// chosen are the faults that are to be tried.
func (o options) chosen() []fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f fault) bool {
		if len(o.only) > 0 {
			return !slices.ContainsFunc(o.only, func(word string) bool { return strings.Contains(f.name, word) })
		}
		return o.isShort && f.short == 0
	})
}

func (f finding) verdict() string {
	switch {
	case f.unrest != "":
		return "VIOLATED: " + f.unrest
	case f.isViolated():
		return "VIOLATED"
	}
	return "held"
}

// tell says what was found, with examples of what must not be.
func (f finding) tell() {
	if f.notRun != nil {
		say("%s: %v", f.fault.name, f.notRun)
		return
	}
	for _, one := range f.Examples {
		say("%s: %s", f.fault.name, one)
	}
	say("%s: %s: %d of %d messages acked meanwhile, caught up in %s, answered in %s; refused: %s",
		f.fault.name, f.verdict(), f.ToldDuring, f.Told, seconds(f.Slowest), seconds(f.LastAnswer), f.refusals())
}

// tabled shows what became of each fault.
func tabled(o options, all []finding, took time.Duration) report {
	g := harness.Grid{{
		"fault", "seed", "lasted", "requests/s", "acked", "stored", "refused", "lost", "twice", "gaps", "late", "unanswered", "wrong", "caught up", "answered", "answers", "failed", "retaken", "verdict",
	}}
	tried, acked, violated := 0, 0, 0
	for _, f := range all {
		if f.notRun != nil {
			g = append(g, []string{f.fault.name, "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", f.notRun.Error()})
			continue
		}
		tried++
		acked += f.Told
		if f.isViolated() {
			violated++
		}
		g = append(g, []string{
			f.fault.name, fmt.Sprint(o.seed), seconds(f.lasted), fmt.Sprintf("%.0f", float64(f.RequestsDuring)/max(f.lasted.Seconds(), 0.001)),
			fmt.Sprintf("%d of %d", f.ToldDuring, f.Told), fmt.Sprint(f.Stored), f.refusals(),
			fmt.Sprint(f.Lost), fmt.Sprint(f.Twice), fmt.Sprint(f.Gaps), fmt.Sprint(f.Late), fmt.Sprint(f.Unanswered), fmt.Sprint(f.Wrong),
			seconds(f.Slowest), seconds(f.LastAnswer), fmt.Sprint(f.Answers), fmt.Sprint(f.Failed), fmt.Sprint(f.Retaken), f.verdict(),
		})
	}
	head := fmt.Sprintf("%d faults in %s, %d at once, %d cores, %s, seed %d: %d messages were acknowledged, %d faults violated something.\n",
		tried, took.Round(time.Second), o.atOnce, runtime.NumCPU(), runtime.Version(), o.seed, acked, violated)
	return report{head + "\n" + g.Text(), head + "\n" + g.Markdown()}
}

func seconds(d time.Duration) string {
	if d <= 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
