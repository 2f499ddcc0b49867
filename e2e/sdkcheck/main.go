// Command sdkcheck generates clients from api/openapi.yaml with the generators that
// integrators use, compiles or type-checks each, and has those of the languages that it
// can run drive one scenario against a live server: start, send, stream, page, records,
// export, a 422 for an Idempotency-Key with another body, a 429. It prints which
// generator comes how far, and fails when any fails anywhere.
//
// What it generates goes to a temporary directory. The server is its own: built from
// this tree, on a port of its own, with a data directory that is gone afterwards.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	into := flag.String("into", "", "also put the table into its place in this `file`, between the comments that mark it")
	keep := flag.Bool("keep", false, "keep what was generated, and say where")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *into, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "sdk-check:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, into string, keep bool) (err error) {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "parley-sdk-")
	if err != nil {
		return err
	}
	if keep {
		fmt.Fprintln(os.Stderr, "generated into", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL's user must get through
		return err
	}
	server, err := serve(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()

	t := tools{root: root, dir: dir, node: filepath.Join(root, "e2e/sdkcheck/node_modules")}
	var results []result
	for _, g := range t.generators(server) {
		results = append(results, g.try(ctx, filepath.Join(dir, g.slug)))
		fmt.Fprintln(os.Stderr, results[len(results)-1])
	}
	table := tableOf(results)
	if into != "" {
		if err := putInto(into, table); err != nil {
			return err
		}
	}
	fmt.Print(table)
	for _, r := range results {
		err = errors.Join(err, r.err)
	}
	return err
}

// generator is a row of the table. A step that is missing is none of its own.
type generator struct {
	slug, name, version, makes string
	generate, compile, drive   step
}

// step does its part in a directory of the generator's own.
type step func(ctx context.Context, dir string) error

// result is how far a generator came.
type result struct {
	generator
	stages [3]string // yes, no, or a dash for what is not done
	took   time.Duration
	err    error
}

func (g generator) try(ctx context.Context, dir string) result {
	r := result{generator: g, stages: [3]string{"–", "–", "–"}}
	began := time.Now()
	if r.err = os.MkdirAll(dir, 0o755); r.err != nil {
		return r
	}
	for i, do := range []step{g.generate, g.compile, g.drive} {
		if do == nil {
			continue
		}
		if err := do(ctx, dir); err != nil {
			r.stages[i] = "no"
			r.err = fmt.Errorf("%s, %s: %w", g.name, []string{"generate", "compile", "scenario"}[i], err)
			break
		}
		r.stages[i] = "yes"
	}
	r.took = time.Since(began)
	return r
}

func (r result) String() string {
	return fmt.Sprintf("%s, %s: %s (%.0f s)", r.name, r.makes, strings.Join(r.stages[:], " "), r.took.Seconds())
}

// tableOf is the list as it is printed and as it stands in the README.
func tableOf(results []result) string {
	var text strings.Builder
	rows := tabwriter.NewWriter(&text, 0, 0, 1, ' ', tabwriter.Debug)
	fmt.Fprintln(rows, "generator\t version\t makes\t generates\t compiles\t scenario")
	for _, r := range results {
		fmt.Fprintf(rows, "%s\t %s\t %s\t %s\t %s\t %s\n", r.name, r.version, r.makes, r.stages[0], r.stages[1], r.stages[2])
	}
	_ = rows.Flush() // to memory, which does not fail
	return text.String()
}

const (
	begin = "<!-- begin of the table that make sdk-check writes -->\n"
	end   = "<!-- end of the table -->"
)

func putInto(path, table string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, hasBegin := strings.Cut(string(content), begin)
	_, after, hasEnd := strings.Cut(rest, end)
	if !hasBegin || !hasEnd {
		return errors.New(path + " has no place for the table: two comments, " + strings.TrimSpace(begin) + " and " + end)
	}
	return os.WriteFile(path, []byte(before+begin+"```\n"+table+"```\n"+end+after), 0o644)
}
