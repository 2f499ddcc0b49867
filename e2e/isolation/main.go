// Command isolation measures what one organization can do to another one: it asks questions and sends
// messages for the quiet organization, alone and beside each kind of load of the loud one. The server
// has no rate limits for organizations, so that only the shares protect the quiet one. SECURITY.md shows the
// figures.
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
	"time"

	"parley/e2e/harness"
)

type options struct {
	records int
	seconds int
	only    string
}

// allowed is how many times longer an answer may take beside a load than alone, and grace what is
// allowed on top, for the noise of small times.
const (
	allowed = 3
	grace   = 20 * time.Millisecond
)

var errViolated = errors.New("another organization was affected, see the table")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.IntVar(&o.records, "records", 100_000, "`number` of records of the loud organization")
	flag.IntVar(&o.seconds, "seconds", 8, "`time` of each measurement, in seconds")
	flag.StringVar(&o.only, "only", "", "measure only the loads whose letters are in this `text`; empty: all")
	flag.Parse()
	measurePeriod = time.Duration(o.seconds) * time.Second
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "isolation:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	s, err := newStack(ctx, o)
	if s != nil {
		defer func() { err = errors.Join(err, s.stop()) }()
	}
	if err != nil {
		return err
	}
	table := harness.Table{{"beside", "FAQ answer p50", "p99", "send p50", "p99", "refused", "loud: done", "loud: refused"}}
	violated := false
	var alone figures
	for _, l := range append([]load{{name: "alone"}}, loads...) {
		if o.only != "" && l.run != nil && !strings.Contains(o.only, l.name[1:2]) {
			continue
		}
		fmt.Fprintln(os.Stderr, time.Now().Format(time.TimeOnly), l.name)
		f, counted, err := s.measureBeside(ctx, l)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		if l.run == nil {
			alone = f
		}
		isSlow := p99(f.answers) > allowed*p99(alone.answers)+grace || p99(f.sends) > allowed*p99(alone.sends)+grace
		violated = violated || isSlow || f.refused > 0
		table = append(table, []string{
			l.name, show(p50(f.answers)), show(p99(f.answers)), show(p50(f.sends)), show(p99(f.sends)), fmt.Sprint(f.refused),
			fmt.Sprint(counted.done.Load()), fmt.Sprint(counted.refused.Load()),
		})
	}
	_, err = fmt.Fprintf(out, "%d records\n%s\n%s", o.records, table.Text(), table.Markdown())
	if violated {
		err = errors.Join(err, errViolated)
	}
	return err
}

func p50(times []time.Duration) time.Duration { return quantile(times, 0.5) }
func p99(times []time.Duration) time.Duration { return quantile(times, 0.99) }

func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[int(q*float64(len(sorted)-1))]
}

func show(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }
