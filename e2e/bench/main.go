// Command bench measures a running server against what limits it: whole requests over HTTP, with
// authentication, validation, limits and logging, next to PostgreSQL running the same statements by
// itself, a minimal reference server, a reverse proxy or a compressor. The two sides of a
// comparison alternate in every round, so that other load on the machine affects both.
//
// It starts a private PostgreSQL with fsync on, a server, and load generators. These are processes
// of their own, so that the CPU time of each is measured separately. It ends all of them, also on
// errors and Ctrl-C, and writes nothing but the requested tables. BENCHMARKS.md explains them.
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

// options are the flags.
type options struct {
	isShort     bool
	rounds      int
	seconds     int
	connections int
	size        int      // messages in all conversations
	records     int      // records of the busiest chatbot
	rows        []string // the rows to measure; none: all
	plots       bool
	largest     int    // the largest size of the plots
	parent      string // of this run's directory
	out         string
	into        string
}

const usage = `make bench measures the rows of BENCHMARKS.md: on two cores it takes about 20 minutes
(SHORT=1: less than 5), most of it for 1,000,000 messages and as many records.
make bench-plots takes about 20 minutes, with LARGEST=1000000 about 8.

`

// workers are the worker processes that this program starts.
var workers = map[string]func(ctx context.Context, in io.Reader, out io.Writer) error{
	"load":      runLoad,
	"sockets":   runSockets,
	"reference": runReference,
	"recorder":  runRecorder,
	"streams":   runStreams,
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

// run measures, or runs a worker.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 1 && workers[args[0]] != nil {
		return workers[args[0]](ctx, in, out)
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	measure, section := measureRows, "table"
	if o.plots {
		measure, section = measurePlots, "plots"
	}
	result, err := measure(ctx, o)
	if err != nil {
		return err
	}
	if o.out != "" {
		if err := os.WriteFile(o.out, []byte(result.markdown), 0o644); err != nil {
			return err
		}
	}
	if o.into != "" {
		if err := harness.ReplaceSection(o.into, "bench", section, result.markdown); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, result.text)
	return err
}

// report returns the measurements, for a terminal and in Markdown.
type report struct{ text, markdown string }

func parse(args []string) (options, error) {
	var o options
	var rows string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.isShort, "short", false, "measure in less than five minutes: by default 3 rounds of 1 second, 100,000 messages and as many records")
	flags.IntVar(&o.rounds, "rounds", 5, "`number` of measurements of each row")
	flags.IntVar(&o.seconds, "seconds", 5, "`seconds` of each measurement")
	flags.IntVar(&o.connections, "connections", 32, "`number` of connections that send at once")
	flags.IntVar(&o.size, "size", 1_000_000, "`number` of messages, 100 in a conversation")
	flags.IntVar(&o.records, "records", 1_000_000, "`number` of records of the busiest chatbot")
	flags.StringVar(&rows, "rows", "", "measure only these `rows`, such as 1,4,9 or search; empty: all")
	flags.BoolVar(&o.plots, "plots", false, "measure cost by size and by connections instead of the rows")
	flags.IntVar(&o.largest, "largest", 5_000_000, "with -plots: the largest `size`; 1000000 leaves out the slowest step")
	flags.StringVar(&o.parent, "dir", "/var/tmp", "`directory` for the database: on a disk, not in memory")
	flags.StringVar(&o.out, "out", "", "also write the result to this `file`, in Markdown")
	flags.StringVar(&o.into, "into", "", "also replace the result in this Markdown `file`")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.isShort {
		isSet := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { isSet[f.Name] = true })
		for name, short := range map[string]struct {
			option *int
			value  int
		}{"rounds": {&o.rounds, 3}, "seconds": {&o.seconds, 1}, "size": {&o.size, 100_000}, "records": {&o.records, 100_000}, "largest": {&o.largest, 100_000}} {
			if !isSet[name] {
				*short.option = short.value
			}
		}
	}
	if rows != "" {
		o.rows = strings.Split(rows, ",")
	}
	if len(flags.Args()) > 0 {
		return o, fmt.Errorf("unexpected argument %q: there are only flags", strings.Join(flags.Args(), " "))
	}
	return o, o.validate()
}

func (o options) validate() error {
	var errs []error
	if o.rounds < 1 || o.seconds < 1 || o.connections < 1 {
		errs = append(errs, errors.New("-rounds, -seconds and -connections must be at least 1"))
	}
	if least := messagesPerConversation * max(o.connections, 100); o.size < least {
		errs = append(errs, fmt.Errorf("-size must be at least %d, for one conversation per connection and at least 100", least))
	}
	if o.records < monthRecords {
		errs = append(errs, fmt.Errorf("-records must be at least %d, the records of a month", monthRecords))
	}
	for _, number := range o.rows {
		if !slices.ContainsFunc(new(bench).allRows(), func(r row) bool { return r.number == number }) {
			errs = append(errs, fmt.Errorf("-rows: there is no row %q", number))
		}
	}
	return errors.Join(errs...)
}
