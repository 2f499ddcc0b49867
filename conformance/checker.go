package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"
)

// checker runs one check. Like a testing.T, it collects failures, and fatalf and skipf end the check at any call
// depth. It belongs to the goroutine that runs the check.
type checker struct {
	*runner

	ctx   context.Context //nolint:containedctx // ends with the check, and closes all connections of the check
	index int             // selects the user of the check, and thereby the rate limits
	user  client          // a user without staff scopes; it has only the scope chat if the run created it

	failures []string
	skipped  string
	cleanups []func()
}

// run runs a check in a separate goroutine, so that runtime.Goexit can end it.
func (r *runner) run(ctx context.Context, index int, c check) Result {
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &checker{runner: r, ctx: ctx, index: index}
	t.user = t.userAt(index)
	t.do(func() {
		t.require(ctx.Err() == nil, "")
		if !c.isForAnyKey && !r.canConverse() {
			t.skipf("the key has neither of the scopes chat and agent")
		}
		if c.scope != "" && !r.hasScope(c.scope) {
			t.skipf("the key does not have the scope %s", c.scope)
		}
		if c.isScripted {
			t.needScript()
		}
		c.run(t)
	})
	result := Result{Check: c.Check, Outcome: Passed, Duration: time.Since(began)}
	switch {
	case len(t.failures) > 0:
		result.Outcome, result.Reason = Failed, strings.Join(t.failures, "; ")
	case t.skipped != "":
		result.Outcome, result.Reason = Skipped, t.skipped
	}
	return result
}

// do calls a function that may call fatalf or skipf, and returns when it has ended. A panic is recorded as a failure:
// no response may end the run.
func (t *checker) do(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, cleanup := range slices.Backward(t.cleanups) {
				cleanup()
			}
		}()
		defer func() {
			if cause := recover(); cause != nil {
				t.errorf("the check panicked on a response: %v", cause)
			}
		}()
		fn()
	}()
	<-done
}

// cleanup calls a function when the check ends.
func (t *checker) cleanup(fn func()) { t.cleanups = append(t.cleanups, fn) }

// errorf records a failure and continues.
func (t *checker) errorf(format string, args ...any) {
	for i, arg := range args {
		args[i] = readable(arg)
	}
	t.failures = append(t.failures, truncate(fmt.Sprintf(format, args...), 600))
}

// readable returns maps, and lists of any values, as JSON, and other values unchanged. JSON can be compared with the
// response.
func readable(arg any) any {
	kind := reflect.TypeOf(arg)
	if kind == nil {
		return "null"
	}
	if kind.Kind() == reflect.Map || kind.Kind() == reflect.Slice && (kind.Elem().Kind() == reflect.Map || kind.Elem().Kind() == reflect.Interface) {
		if text, err := json.Marshal(arg); err == nil {
			return string(text)
		}
	}
	return arg
}

// fatalf records a failure and ends the check. If the time of the run is over, the check is skipped instead: that is
// not a failure of the deployment.
func (t *checker) fatalf(format string, args ...any) {
	if t.ctx.Err() != nil {
		t.skipf("%v", context.Cause(t.ctx))
	}
	t.errorf(format, args...)
	runtime.Goexit()
}

// require ends the check with a failure unless a condition holds.
func (t *checker) require(holds bool, format string, args ...any) {
	if !holds {
		t.fatalf(format, args...)
	}
}

// skipf records why the check cannot run, and ends it.
func (t *checker) skipf(format string, args ...any) {
	t.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// sleep pauses the check.
func (t *checker) sleep(duration time.Duration) {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
		t.fatalf("")
	}
}

// eventually polls until a condition holds.
func (t *checker) eventually(what string, holds func() bool) {
	const interval, limit = 50 * time.Millisecond, 15 * time.Second
	for deadline := time.Now().Add(limit); !holds(); t.sleep(interval) {
		t.require(time.Now().Before(deadline), "timed out after %s waiting until %s", limit, what)
	}
}

func truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
