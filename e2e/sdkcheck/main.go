// Command sdkcheck generates clients from api/openapi.yaml with the generators that integrators
// use, compiles or type-checks each, and runs one scenario with those whose language it can run:
// start, send, stream, page, records, export, a 422 for an Idempotency-Key with another body, a
// 429. It prints how far each generator got and fails if any of them failed.
//
// The clients are generated into a temporary directory. The server is built from this source tree
// and has a temporary data directory and a port of its own.
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

	"parley/e2e/harness"
)

func main() {
	into := flag.String("into", "", "also replace the table in this Markdown `file`")
	keep := flag.Bool("keep", false, "keep the generated clients, and print where they are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *into, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "sdkcheck:", err)
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
		fmt.Fprintln(os.Stderr, "generating into", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL's user needs access
		return err
	}
	s, err := startServer(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.process.Stop()) }()

	t := tools{root: root, dir: dir, node: filepath.Join(root, "e2e/sdkcheck/node_modules")}
	var results []result
	for _, g := range t.generators(s) {
		results = append(results, g.try(ctx, filepath.Join(dir, g.slug)))
		fmt.Fprintln(os.Stderr, results[len(results)-1])
	}
	table := tableOf(results)
	if into != "" {
		if err := harness.ReplaceSection(into, "sdk-check", "table", "```\n"+table+"```\n"); err != nil {
			return err
		}
	}
	fmt.Print(table)
	for _, r := range results {
		err = errors.Join(err, r.err)
	}
	return err
}

// generator is a row of the table. Its steps run in order; a nil step is skipped.
type generator struct {
	slug, name, version, makes string
	generate, compile, drive   step
}

// step runs in the generator's directory.
type step func(ctx context.Context, dir string) error

// result is how far a generator got.
type result struct {
	generator
	steps [3]string // yes, no, or – if not run
	took  time.Duration
	err   error
}

func (g generator) try(ctx context.Context, dir string) result {
	r := result{generator: g, steps: [3]string{"–", "–", "–"}}
	start := time.Now()
	if r.err = os.MkdirAll(dir, 0o755); r.err != nil {
		return r
	}
	for i, run := range []step{g.generate, g.compile, g.drive} {
		if run == nil {
			continue
		}
		if err := run(ctx, dir); err != nil {
			r.steps[i] = "no"
			r.err = fmt.Errorf("%s, %s: %w", g.name, []string{"generate", "compile", "scenario"}[i], err)
			break
		}
		r.steps[i] = "yes"
	}
	r.took = time.Since(start)
	return r
}

func (r result) String() string {
	return fmt.Sprintf("%s, %s: %s (%.0f s)", r.name, r.makes, strings.Join(r.steps[:], " "), r.took.Seconds())
}

// tableOf returns the table that is printed and written to the README.
func tableOf(results []result) string {
	var text strings.Builder
	rows := tabwriter.NewWriter(&text, 0, 0, 1, ' ', tabwriter.Debug)
	fmt.Fprintln(rows, "generator\t version\t makes\t generates\t compiles\t scenario")
	for _, r := range results {
		fmt.Fprintf(rows, "%s\t %s\t %s\t %s\t %s\t %s\n", r.name, r.version, r.makes, r.steps[0], r.steps[1], r.steps[2])
	}
	_ = rows.Flush() // a strings.Builder never fails
	return text.String()
}
