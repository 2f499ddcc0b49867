// Command bench measures a running server: whole requests over HTTP, with
// authentication, validation, limits and log, against PostgreSQL running the same
// statements by itself. Both run in turns, several rounds of each, so that what
// else the machine does strikes both alike.
//
// It starts a private PostgreSQL with fsync on, a server over it, and for the load
// a process of its own, so that the CPU time of each is its own too; and it ends
// them all, whatever happens. It writes nothing but the table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// options say how much is measured.
type options struct {
	rounds      int
	seconds     int
	connections int
	size        int // of the data: how many conversations
	dir         string
	out         string
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

// run is one of four programs: the bench, or what the bench starts of itself, the
// load, the audience and the reference.
func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) > 0 && args[0] == "load" {
		return runLoad(ctx, in, out)
	}
	if len(args) > 0 && args[0] == "audience" {
		return runAudience(ctx, in, out)
	}
	if len(args) > 0 && args[0] == "reference" {
		return runReference(ctx, in, out)
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	table, err := bench(ctx, o)
	if err != nil {
		return err
	}
	if o.out != "" {
		if err := os.WriteFile(o.out, []byte(table), 0o644); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, table)
	return err
}

func parse(args []string) (options, error) {
	var o options
	var isShort bool
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&isShort, "short", false, "take about one minute, for a first look: rounds of one second")
	flags.IntVar(&o.rounds, "rounds", 5, "`how many` times each thing is measured")
	flags.IntVar(&o.seconds, "seconds", 5, "how many `seconds` it is measured each time")
	flags.IntVar(&o.connections, "connections", 32, "`how many` connections send at once")
	flags.IntVar(&o.size, "size", 2000, "`how many` conversations there are, of 100 messages each")
	flags.StringVar(&o.dir, "dir", "/var/tmp", "`where` the database is put meanwhile: on a disk, not in memory")
	flags.StringVar(&o.out, "out", "", "also write the table to this `file`")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if isShort {
		o.seconds = 1
	}
	if len(flags.Args()) > 0 {
		return o, fmt.Errorf("there are only flags, no %q", strings.Join(flags.Args(), " "))
	}
	if o.rounds < 1 || o.seconds < 1 || o.connections < 1 || o.size < o.connections {
		return o, errors.New("rounds, seconds and connections are at least 1, and size at least the connections")
	}
	return o, nil
}

// bench measures and returns the table.
func bench(ctx context.Context, o options) (_ string, err error) {
	s, err := startStack(ctx, o)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.seed(ctx, o.size); err != nil {
		return "", fmt.Errorf("put the data in: %w", err)
	}
	m := measurements{stack: s, options: o}
	if err := m.prepare(ctx); err != nil {
		return "", err
	}
	if err := m.round(ctx, 1); err != nil { // warms up, and does not count
		return "", err
	}
	m.forget()
	for range o.rounds {
		if err := m.round(ctx, o.seconds); err != nil {
			return "", err
		}
	}
	// Memory does not depend on what else the machine does: once is enough.
	if m.socket, err = m.idle(ctx); err != nil {
		return "", fmt.Errorf("idle sockets: %w", err)
	}
	return m.table(), nil
}
