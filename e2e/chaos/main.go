// Command chaos breaks what a service stands on while it is under load, one thing at a
// time, and holds what was acknowledged against what is stored and what every device has
// received.
//
// Each trial starts a PostgreSQL, a Redis, a model server and two servers of this tree,
// with a toxiproxy between each pair; a process of its own puts them under load and
// notes what it is told in a journal that nothing is taken from; another one judges by
// that journal and by the database. It ends all that it starts, whatever happens.
// FAULTS.md says how the table is to be read.
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

// options say what is tried, and how.
type options struct {
	isShort bool
	seed    uint64
	only    []string // the faults that are tried; none: all
	atOnce  int
	soak    time.Duration
	parent  string // of the directory of this run
	keep    bool
	out     string
	into    string
}

const usage = `make faults tries each fault of FAULTS.md under load, in about 15 minutes (SHORT=1: a few, in 90 seconds).
make soak puts two servers under a mixed load for 15 minutes (MINUTES=60: for an hour).

`

// programs are what faults starts of itself.
var programs = map[string]func(ctx context.Context, in io.Reader, out io.Writer) error{
	"load":  runLoad,
	"model": runModel,
	"judge": runJudge,
}

// errViolated is that something was lost, or told twice, or not told.
var errViolated = errors.New("what was promised did not hold: the table tells what")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "faults:", err)
		stop()
		os.Exit(1)
	}
}

// run tries the faults, or is one of the programs that it starts of itself.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 1 && programs[args[0]] != nil {
		return programs[args[0]](ctx, in, out)
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	try, place := tryFaults, "table"
	if o.soak > 0 {
		try, place = soak, "soak"
	}
	found, violated := try(ctx, o)
	if violated != nil && !errors.Is(violated, errViolated) {
		return violated
	}
	if o.out != "" {
		if err := os.WriteFile(o.out, []byte(found.markdown), 0o644); err != nil {
			return err
		}
	}
	if o.into != "" {
		if err := harness.PutInto(o.into, "faults", place, found.markdown); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, found.text)
	return errors.Join(err, violated)
}

// report is what was found, for a terminal and for a page.
type report struct{ text, markdown string }

func parse(args []string) (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.isShort, "short", false, "try a few faults, in 90 seconds")
	flags.Uint64Var(&o.seed, "seed", 0, "the `seed` of all that is left to chance, as the table of an earlier run names it; 0: another one each time")
	flags.StringVar(&only, "only", "", "try only the `faults` whose names hold one of these words, such as redis,kill; empty: all")
	flags.IntVar(&o.atOnce, "at-once", 0, "`how many` faults are tried at once, each in a world of its own; 0: one, and two where time is short")
	flags.DurationVar(&o.soak, "soak", 0, "try no fault, but see for so `long` whether anything grows")
	flags.StringVar(&o.parent, "dir", "/var/tmp", "`where` the database is put meanwhile: on a disk, not in memory")
	flags.BoolVar(&o.keep, "keep", false, "leave the journals, the logs and the databases there")
	flags.StringVar(&o.out, "out", "", "also write what was found to this `file`, in Markdown")
	flags.StringVar(&o.into, "into", "", "also put it into its place in this `file`, between the comments that mark it")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	if o.atOnce == 0 && o.isShort {
		o.atOnce = 2 // most of a trial is waiting
	}
	o.atOnce = max(o.atOnce, 1)
	if o.seed == 0 {
		o.seed = uint64(rand.Uint32())
	}
	if len(flags.Args()) > 0 {
		return o, fmt.Errorf("there are only flags, no %q", strings.Join(flags.Args(), " "))
	}
	for _, word := range o.only {
		if !slices.ContainsFunc(faults, func(f fault) bool { return strings.Contains(f.name, word) }) {
			return o, fmt.Errorf("no fault has %q in its name", word)
		}
	}
	return o, nil
}

// say tells who waits what is done.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// pause waits; its error is that ctx is done.
func pause(ctx context.Context, duration time.Duration) error {
	select {
	case <-time.After(duration):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until looks again and again whether something holds; its error is that it did not in
// time, and why.
func until(ctx context.Context, limit time.Duration, what string, holds func() error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(limit); ; {
		err := holds()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not in %s: %w", what, limit, err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
