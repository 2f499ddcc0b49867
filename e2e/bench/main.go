// Command bench measures a running server against what limits it: whole requests over
// HTTP, with authentication, validation, limits and log, beside PostgreSQL running the
// same statements by itself, a bare reference, a reverse proxy, a compressor. The two
// that are compared run one after the other in every round, so that what else the
// machine does strikes both alike.
//
// It starts a private PostgreSQL with fsync on, a server over it, and for the load
// processes of their own, so that the CPU time of each is its own too; and it ends
// them all, whatever happens. It writes nothing but the tables it is asked for.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"parley/e2e/harness"
)

// options say what is measured, and how much.
type options struct {
	isShort     bool
	rounds      int
	seconds     int
	connections int
	size        int      // of the data: how many messages there are in all conversations
	records     int      // how many records the busiest chatbot has
	rows        []string // the rows that are measured; none: all
	plots       bool
	largest     int    // size of the plots
	parent      string // of the directory of this run
	out         string
	into        string
}

const usage = `make bench measures the rows of BENCHMARKS.md: on two cores it takes about 20 minutes
(SHORT=1: less than 5), most of it for 1,000,000 messages and as many records.
make bench-plots takes about 20 minutes, with LARGEST=1000000 about 8.

`

// programs are what bench starts of itself.
var programs = map[string]func(ctx context.Context, in io.Reader, out io.Writer) error{
	"load":      runLoad,
	"audience":  runAudience,
	"reference": runReference,
	"witness":   runWitness,
	"readers":   runReaders,
	"model":     runModel,
	"proxy":     runProxy,
	"sheet":     runSheet,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run is the bench, or one of the programs that it starts of itself.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 1 && programs[args[0]] != nil {
		return programs[args[0]](ctx, in, out)
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	measure, place := measureRows, "table"
	if o.plots {
		measure, place = measurePlots, "plots"
	}
	found, err := measure(ctx, o)
	if err != nil {
		return err
	}
	if o.out != "" {
		if err := os.WriteFile(o.out, []byte(found.markdown), 0o644); err != nil {
			return err
		}
	}
	if o.into != "" {
		if err := harness.ReplaceSection(o.into, "bench", place, found.markdown); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, found.text)
	return err
}

// report is what was measured, for a terminal and for a page.
type report struct{ text, markdown string }

func parse(args []string) (options, error) {
	var o options
	var rows string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.isShort, "short", false, "take less than five minutes, for a first look: 3 rounds of 1 second, 100,000 messages and as many records,\nwhere nothing else is said")
	flags.IntVar(&o.rounds, "rounds", 5, "`how many` times each thing is measured")
	flags.IntVar(&o.seconds, "seconds", 5, "how many `seconds` it is measured each time")
	flags.IntVar(&o.connections, "connections", 32, "`how many` connections send at once")
	flags.IntVar(&o.size, "size", 1_000_000, "`how many` messages there are, 100 in a conversation")
	flags.IntVar(&o.records, "records", 1_000_000, "`how many` records the busiest chatbot has")
	flags.StringVar(&rows, "rows", "", "measure only these `rows`, such as 1,4,9 or search; empty: all")
	flags.BoolVar(&o.plots, "plots", false, "measure cost against size and against connections instead of the rows")
	flags.IntVar(&o.largest, "largest", 5_000_000, "with -plots: the greatest `size`; 1000000 leaves out the step that takes longest")
	flags.StringVar(&o.parent, "dir", "/var/tmp", "`where` the database is put meanwhile: on a disk, not in memory")
	flags.StringVar(&o.out, "out", "", "also write what was found to this `file`, in Markdown")
	flags.StringVar(&o.into, "into", "", "also put it into its place in this `file`, between the comments that mark it")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.isShort {
		given := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, short := range map[string]struct {
			of *int
			to int
		}{"rounds": {&o.rounds, 3}, "seconds": {&o.seconds, 1}, "size": {&o.size, 100_000}, "records": {&o.records, 100_000}, "largest": {&o.largest, 100_000}} {
			if !given[name] {
				*short.of = short.to
			}
		}
	}
	if rows != "" {
		o.rows = strings.Split(rows, ",")
	}
	return o, errors.Join(o.check(), leftover(flags.Args()))
}

func leftover(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("there are only flags, no %q", strings.Join(args, " "))
	}
	return nil
}

func (o options) check() error {
	var mistakes []error
	if o.rounds < 1 || o.seconds < 1 || o.connections < 1 {
		mistakes = append(mistakes, errors.New("rounds, seconds and connections are at least 1"))
	}
	if o.size < messagesPerTalk*max(o.connections, 100) {
		mistakes = append(mistakes, fmt.Errorf("the size is at least %d: a conversation for each connection, and 100", messagesPerTalk*max(o.connections, 100)))
	}
	if o.records < monthRecords {
		mistakes = append(mistakes, fmt.Errorf("the records are at least %d, those of a month", monthRecords))
	}
	for _, wanted := range o.rows {
		if !slices.ContainsFunc(new(bench).all(), func(r row) bool { return r.number == wanted }) {
			mistakes = append(mistakes, fmt.Errorf("there is no row %q", wanted))
		}
	}
	return errors.Join(mistakes...)
}
