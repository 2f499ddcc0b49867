package main

import (
	"context"
	"time"
)

// fault is a failure to inject while the servers are under load.
type fault struct {
	name        string
	description string
	// duration is how long the fault lasts, and short its duration with -short. With -short, a fault whose short is 0
	// is not injected.
	duration, short time.Duration
	megabytes       int // size of the file system that the database needs; 0: any
	// begin injects the fault. When end returns, everything works again.
	begin, end func(context.Context, *deployment) error
}

// inject begins the fault, waits for its duration and ends it.
func (f fault) inject(ctx context.Context, d *deployment, isShort bool) error {
	duration := f.duration
	if isShort && f.short > 0 {
		duration = f.short
	}
	if err := f.begin(ctx, d); err != nil {
		return err
	}
	if err := sleep(ctx, duration); err != nil {
		return err
	}
	return f.end(ctx, d)
}

// faults are all faults, in the order of FAULTS.md.
var faults = concat(serverFaults, postgresFaults, redisFaults, clientFaults, modelFaults, machineFaults)

func concat(groups ...[]fault) (all []fault) {
	for _, group := range groups {
		all = append(all, group...)
	}
	return all
}

// onLinks returns a fault that begins by changing links and ends by restoring them.
func onLinks(links func(*deployment) []*link, change func(*link) error) (begin, end func(context.Context, *deployment) error) {
	begin = func(_ context.Context, d *deployment) error {
		for _, l := range links(d) {
			if err := change(l); err != nil {
				return err
			}
		}
		return nil
	}
	end = func(ctx context.Context, d *deployment) error {
		for _, l := range links(d) {
			if err := l.restore(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	return begin, end
}

// networkFaults are the faults of the links between two kinds of processes. Latency is in milliseconds, rate in
// kilobytes per second.
func networkFaults(prefix string, links func(*deployment) []*link, latency, rate int, shortHalfOpen time.Duration) []fault {
	withToxic := func(t toxic) func(*link) error { return func(l *link) error { return l.addToxic(t) } }
	newFault := func(name, description string, duration, short time.Duration, change func(*link) error) fault {
		f := fault{name: prefix + "-" + name, description: description, duration: duration, short: short}
		f.begin, f.end = onLinks(links, change)
		return f
	}
	blackholed := newFault("blackholed", "existing connections silently drop all data, new ones work", 5*time.Second, 0,
		withToxic(toxic{kind: "blackhole"}))
	blackholed.end = func(_ context.Context, d *deployment) error {
		for _, l := range links(d) {
			if err := l.endBlackholes(); err != nil {
				return err
			}
		}
		return nil
	}
	return []fault{
		newFault("cut", "all connections closed, new ones refused", 5*time.Second, 0, func(l *link) error { l.cut(); return nil }),
		newFault("half-open", "connections stay open, but transfer nothing", 8*time.Second, shortHalfOpen,
			withToxic(toxic{kind: "timeout", attributes: map[string]any{"timeout": 0}})),
		blackholed,
		newFault("delayed", "high latency with jitter in both directions", 8*time.Second, 0,
			withToxic(toxic{kind: "latency", attributes: map[string]any{"latency": latency, "jitter": latency / 2}})),
		newFault("throttled", "a few kilobytes per second", 8*time.Second, 0,
			withToxic(toxic{kind: "bandwidth", attributes: map[string]any{"rate": rate}})),
		newFault("truncated", "every connection closed after some kilobytes", 6*time.Second, 0,
			withToxic(toxic{kind: "limit_data", direction: "downstream", attributes: map[string]any{"bytes": 6000}})),
	}
}
