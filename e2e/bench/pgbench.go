package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"parley/e2e/harness"
)

// pgbench executes the product's statements without the product.
type pgbench struct {
	program string
	url     string
	clients int
}

func newPgbench(s *stack, clients int) (pgbench, error) {
	program := filepath.Join(s.bin, "pgbench")
	if target, err := filepath.EvalSymlinks(filepath.Join(s.bin, "postgres")); err == nil {
		if sibling := filepath.Join(filepath.Dir(target), "pgbench"); isFile(sibling) {
			program = sibling
		}
	}
	if !isFile(program) {
		inPath, err := exec.LookPath("pgbench")
		if err != nil {
			return pgbench{}, fmt.Errorf("PostgreSQL's pgbench is required, but neither in %s nor in PATH", s.bin)
		}
		program = inPath
	}
	return pgbench{program: program, url: s.url(), clients: clients}, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// nullMarker represents null in a variable, which cannot be empty.
const nullMarker = "-"

// connectionSettings are the settings of the product's connections.
const connectionSettings = "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=10s -c max_parallel_workers_per_gather=0 -c jit=off -c enable_seqscan=off"

// warmUp returns the number of seconds that pgbench runs before the measurement. Unlike a server, pgbench starts with
// new connections, which first have to plan their statements.
func warmUp(seconds int) int { return min(seconds, 2) }

var progress = regexp.MustCompile(`^progress: [0-9.]+ s, ([0-9.]+) tps, .*?(?: (\d+) failed)?$`)

// run runs scripts, chosen at random, and returns the transactions per second. It calls begin after
// the warm-up and end after the measurement.
func (p pgbench) run(ctx context.Context, seconds int, variables map[string]string, scripts []string, begin, end func() error) (float64, error) {
	args := []string{
		"--no-vacuum", "--protocol=prepared", "--client=" + strconv.Itoa(p.clients), "--jobs=1",
		"--progress=1", "--time=" + strconv.Itoa(warmUp(seconds)+seconds+2),
		"--define=nothing=" + nullMarker,
	}
	for name, value := range variables {
		args = append(args, "--define="+name+"="+value)
	}
	for _, script := range scripts {
		args = append(args, "--file="+script)
	}
	// The command is cancelled when the measurement is complete.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.program, append(args, p.url)...)
	cmd.Env = []string{"PGOPTIONS=" + connectionSettings}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	count, err := countProgress(stderr, seconds, begin, end)
	cancel()
	exitErr := cmd.Wait()
	if err != nil {
		return 0, fmt.Errorf("run pgbench: %w (%w)", err, exitErr)
	}
	return count / float64(seconds), nil
}

// countProgress reads pgbench's progress, a line per second, and returns the transactions after the
// warm-up.
func countProgress(stderr io.Reader, seconds int, begin, end func() error) (count float64, err error) {
	lines := bufio.NewScanner(stderr)
	var otherLines []string
	for second := 1; lines.Scan(); {
		match := progress.FindStringSubmatch(lines.Text())
		if match == nil {
			otherLines = append(otherLines, lines.Text())
			continue
		}
		if match[2] != "" && match[2] != "0" {
			return 0, fmt.Errorf("transactions failed: %s", lines.Text())
		}
		rate, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			return 0, err
		}
		switch {
		case second == warmUp(seconds):
			err = begin()
		case second > warmUp(seconds):
			count += rate
		}
		if err != nil {
			return 0, err
		}
		if second == warmUp(seconds)+seconds {
			return count, end()
		}
		second++
	}
	return 0, fmt.Errorf("it exited too early: %s", harness.Tail(strings.Join(otherLines, "\n")))
}

// writeScript writes a pgbench script: its variables, then the statement.
func writeScript(dir, name, variables, statement string) (string, error) {
	path := filepath.Join(dir, name+".pgbench")
	return path, os.WriteFile(path, []byte(strings.TrimSpace(variables)+"\n"+statement), 0o600)
}
