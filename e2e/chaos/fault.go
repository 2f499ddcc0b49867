package main

import (
	"context"
	"time"
)

// fault is something that breaks while the servers are under load.
type fault struct {
	name string
	what string // for the table
	// lasts is how long, and short where time is short; 0 there: it is not among the short
	// ones.
	lasts, short time.Duration
	megabytes    int // of the file system that the database is to be in; 0: any
	// begin has it happen, and end has it be over: what was broken works again when end
	// returns.
	begin, end func(context.Context, *world) error
}

// strike has a fault begin, last and end.
func (f fault) strike(ctx context.Context, w *world, isShort bool) error {
	lasts := f.lasts
	if isShort && f.short > 0 {
		lasts = f.short
	}
	if err := f.begin(ctx, w); err != nil {
		return err
	}
	if err := pause(ctx, lasts); err != nil {
		return err
	}
	return f.end(ctx, w)
}

// faults are all that are tried, in the order of FAULTS.md.
var faults = concat(serverFaults, postgresFaults, redisFaults, clientFaults, modelFaults, machineFaults)

func concat(groups ...[]fault) (all []fault) {
	for _, group := range groups {
		all = append(all, group...)
	}
	return all
}

// onLinks has something done to links, and mends them at the end.
func onLinks(links func(*world) []*link, do func(*link) error) (begin, end func(context.Context, *world) error) {
	begin = func(_ context.Context, w *world) error {
		for _, one := range links(w) {
			if err := do(one); err != nil {
				return err
			}
		}
		return nil
	}
	return begin, func(ctx context.Context, w *world) error { return mend(ctx, links(w)) }
}

func mend(ctx context.Context, links []*link) error {
	for _, one := range links {
		if err := one.mend(ctx); err != nil {
			return err
		}
	}
	return nil
}

// networkFaults are what can happen to the network between two.
func networkFaults(between string, links func(*world) []*link, slow, narrow int, shortHalfOpen time.Duration) []fault {
	poisoned := func(t toxic) func(*link) error { return func(l *link) error { return l.poison(t) } }
	one := func(name, what string, lasts, short time.Duration, do func(*link) error) fault {
		f := fault{name: between + "-" + name, what: what, lasts: lasts, short: short}
		f.begin, f.end = onLinks(links, do)
		return f
	}
	forgotten := one("forgotten", "connections that nobody ends and nothing goes over any more, while new ones work", 5*time.Second, 0,
		poisoned(toxic{kind: "oblivion"}))
	forgotten.end = func(_ context.Context, w *world) error {
		for _, l := range links(w) {
			if err := l.recall(); err != nil {
				return err
			}
		}
		return nil
	}
	return []fault{
		one("cut", "every connection ended, new ones refused", 5*time.Second, 0, func(l *link) error { l.cut(); return nil }),
		one("half-open", "connections that nothing goes over, until they are ended", 8*time.Second, shortHalfOpen, poisoned(toxic{kind: "timeout", with: map[string]any{"timeout": 0}})),
		forgotten,
		one("delayed", "each way a good deal slower, and unevenly", 8*time.Second, 0,
			poisoned(toxic{kind: "latency", with: map[string]any{"latency": slow, "jitter": slow / 2}})),
		one("starved", "a few kilobytes in a second", 8*time.Second, 0, poisoned(toxic{kind: "bandwidth", with: map[string]any{"rate": narrow}})),
		one("broken-off", "each connection ended after some kilobytes, wherever that is", 6*time.Second, 0,
			poisoned(toxic{kind: "limit_data", way: "downstream", with: map[string]any{"bytes": 6000}})),
	}
}
