package conformance

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"
)

// trial is one check while it is made.
type trial struct {
	*deployment
	ctx   context.Context //nolint:containedctx // the check's whole life, which ends all that it has opened
	index int             // chooses whose limits it counts towards

	wrongs  []string
	skipped string
}

// try makes a check.
func (d *deployment) try(ctx context.Context, index int, one check) Result {
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &trial{deployment: d, ctx: ctx, index: index}
	done := make(chan struct{})
	go func() { // so that fail and skip can end it from anywhere
		defer close(done)
		defer t.recover()
		if one.needs != "" && !d.has(one.needs) {
			t.skip("it needs the scope %s, which the key does not have", one.needs)
		}
		one.ask(t)
	}()
	<-done
	result := Result{Name: one.name, Holds: one.holds, Outcome: Passed, Took: time.Since(began)}
	switch {
	case len(t.wrongs) > 0:
		result.Outcome, result.Why = Failed, strings.Join(t.wrongs, "; ")
	case t.skipped != "":
		result.Outcome, result.Why = Skipped, t.skipped
	}
	return result
}

// recover makes a failure of what a check stumbles over: no answer may end the run.
func (t *trial) recover() {
	if stumbled := recover(); stumbled != nil {
		t.wrong("the check stumbled over what it was answered: %v", stumbled)
	}
}

// fail says what is wrong and ends the check.
func (t *trial) fail(format string, args ...any) {
	if t.ctx.Err() != nil {
		t.wrong("%v", context.Cause(t.ctx))
		runtime.Goexit()
	}
	t.wrong(format, args...)
	runtime.Goexit()
}

// wrong says what is wrong, and the check goes on.
func (t *trial) wrong(format string, args ...any) {
	t.wrongs = append(t.wrongs, shortened(fmt.Sprintf(format, args...), 600))
}

// must fails the check unless something holds.
func (t *trial) must(holds bool, format string, args ...any) {
	if !holds {
		t.fail(format, args...)
	}
}

// skip says why the check cannot be made, and ends it.
func (t *trial) skip(format string, args ...any) {
	t.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// pause waits.
func (t *trial) pause(length time.Duration) {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
		t.fail("")
	}
}

// eventually asks until something is so.
func (t *trial) eventually(what string, isSo func() bool) {
	const look, patience = 50 * time.Millisecond, 15 * time.Second
	for deadline := time.Now().Add(patience); !isSo(); t.pause(look) {
		t.must(time.Now().Before(deadline), "not within %s: %s", patience, what)
	}
}

func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
