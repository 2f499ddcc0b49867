// Command chaos injects faults into a deployment under load, one at a time, and checks that nothing
// acknowledged is lost: it compares what clients were promised with what is stored and with what
// every device received.
//
// Each fault gets its own PostgreSQL, Redis, model server and two servers of this source tree, with
// a toxiproxy on every connection. The load generator is a process of its own and records every
// response in an append-only journal. A checker process then reads the journal and the database.
// All processes are ended, also on errors and Ctrl-C. FAULTS.md explains the table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"parley/e2e/harness"
)

// options are the flags.
type options struct {
	isShort  bool
	seed     uint64
	only     []string // inject faults whose names contain one of these; none: all
	parallel int
	soak     time.Duration
	parent   string // of this run's directory
	keep     bool
	out      string
	into     string
}

const usage = `make faults injects each fault of FAULTS.md under load, in about 15 minutes (SHORT=1: a few, in 90 seconds).
make soak puts two servers under a mixed load for 15 minutes (MINUTES=60: for an hour).

`

// workers are the worker processes that this program starts.
var workers = map[string]func(ctx context.Context, in io.Reader, out io.Writer) error{
	"load":    runLoad,
	"model":   runModel,
	"checker": runChecker,
}

// errViolated is returned when a guarantee did not hold.
var errViolated = errors.New("a guarantee was violated, see the table")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		stop()
		os.Exit(1)
	}
}

// run injects the faults, or runs a worker.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 1 && workers[args[0]] != nil {
		return workers[args[0]](ctx, in, out)
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	test, section := injectFaults, "table"
	if o.soak > 0 {
		test, section = soak, "soak"
	}
	result, violated := test(ctx, o)
	if violated != nil && !errors.Is(violated, errViolated) {
		return violated
	}
	if o.out != "" {
		if err := os.WriteFile(o.out, []byte(result.markdown), 0o644); err != nil {
			return err
		}
	}
	if o.into != "" {
		if err := harness.ReplaceSection(o.into, "faults", section, result.markdown); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, result.text)
	return errors.Join(err, violated)
}

// report returns the results, for a terminal and in Markdown.
type report struct{ text, markdown string }

func parse(args []string) (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.isShort, "short", false, "inject a few faults, in 90 seconds")
	flags.Uint64Var(&o.seed, "seed", 0, "`seed` of all random choices, as printed by an earlier run; 0: a new one")
	flags.StringVar(&only, "only", "", "inject only `faults` whose names contain one of these words, such as redis,kill; empty: all")
	flags.IntVar(&o.parallel, "at-once", 0, "`number` of faults to inject at the same time, each into its own deployment; 0: 1, or 2 with -short")
	flags.DurationVar(&o.soak, "soak", 0, "inject no fault, but check for this `duration` that nothing grows")
	flags.StringVar(&o.parent, "dir", "/var/tmp", "`directory` for the databases: on a disk, not in memory")
	flags.BoolVar(&o.keep, "keep", false, "keep the journals, logs and databases")
	flags.StringVar(&o.out, "out", "", "also write the table to this `file`, in Markdown")
	flags.StringVar(&o.into, "into", "", "also replace the table in this Markdown `file`")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	if o.parallel == 0 && o.isShort {
		o.parallel = 2 // runs mostly wait
	}
	o.parallel = max(o.parallel, 1)
	if o.seed == 0 {
		o.seed = uint64(rand.Uint32())
	}
	if len(flags.Args()) > 0 {
		return o, fmt.Errorf("unexpected argument %q: there are only flags", strings.Join(flags.Args(), " "))
	}
	for _, word := range o.only {
		if !slices.ContainsFunc(faults, func(f fault) bool { return strings.Contains(f.name, word) }) {
			return o, fmt.Errorf("no fault has %q in its name", word)
		}
	}
	return o, nil
}

// logf reports progress on standard error.
func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// sleep waits for a duration. It returns an error if ctx is done first.
func sleep(ctx context.Context, duration time.Duration) error {
	select {
	case <-time.After(duration):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitFor polls a condition until it returns nil. After the limit it returns the condition's last
// error.
func waitFor(ctx context.Context, limit time.Duration, what string, condition func() error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(limit); ; {
		err := condition()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %s: %w", what, limit, err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
