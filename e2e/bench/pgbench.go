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

// pgbench runs the product's statements without the product.
type pgbench struct {
	program string
	url     string
	clients int
}

func newPgbench(s *stack, clients int) (pgbench, error) {
	program := filepath.Join(s.bin, "pgbench")
	if target, err := filepath.EvalSymlinks(filepath.Join(s.bin, "postgres")); err == nil {
		if beside := filepath.Join(filepath.Dir(target), "pgbench"); isFile(beside) {
			program = beside
		}
	}
	if !isFile(program) {
		found, err := exec.LookPath("pgbench")
		if err != nil {
			return pgbench{}, fmt.Errorf("PostgreSQL's pgbench, which is measured against, is neither in %s, beside its other programs, nor in PATH", s.bin)
		}
		program = found
	}
	return pgbench{program: program, url: s.url(), clients: clients}, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// nothing stands for null in a variable.
const nothing = "-"

// settings are those of the product's connections.
const settings = "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=10s -c max_parallel_workers_per_gather=0 -c jit=off -c enable_seqscan=off"

// warmUp is how many seconds a run goes on before it counts: its connections are
// new, and plan their first statements each time, which a server's do not.
func warmUp(seconds int) int { return min(seconds, 2) }

var progress = regexp.MustCompile(`^progress: [0-9.]+ s, ([0-9.]+) tps, .*?(?: (\d+) failed)?$`)

// run runs scripts, one by chance at a time, and returns how many transactions a
// second there were. It calls begin when it begins to count, and end when it has.
func (p pgbench) run(ctx context.Context, seconds int, variables map[string]string, scripts []string, begin, end func() error) (float64, error) {
	args := []string{
		"--no-vacuum", "--protocol=prepared", "--client=" + strconv.Itoa(p.clients), "--jobs=1",
		"--progress=1", "--time=" + strconv.Itoa(warmUp(seconds)+seconds+2),
		"--define=nothing=" + nothing, // it takes no empty ones
	}
	for name, value := range variables {
		args = append(args, "--define="+name+"="+value)
	}
	for _, script := range scripts {
		args = append(args, "--file="+script)
	}
	// It is not waited for longer than it counts.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.program, append(args, p.url)...)
	cmd.Env = []string{"PGOPTIONS=" + settings}
	told, err := cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	count, err := countProgress(told, seconds, begin, end)
	cancel()
	ended := cmd.Wait()
	if err != nil {
		return 0, fmt.Errorf("run pgbench: %w (%w)", err, ended)
	}
	return count / float64(seconds), nil
}

// countProgress reads a line for each second, and counts those after the first ones.
func countProgress(told io.Reader, seconds int, begin, end func() error) (count float64, err error) {
	lines := bufio.NewScanner(told)
	var others []string
	for second := 1; lines.Scan(); {
		found := progress.FindStringSubmatch(lines.Text())
		if found == nil {
			others = append(others, lines.Text())
			continue
		}
		if found[2] != "" && found[2] != "0" {
			return 0, fmt.Errorf("transactions failed: %s", lines.Text())
		}
		rate, err := strconv.ParseFloat(found[1], 64)
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
	return 0, fmt.Errorf("it ended before it had told enough: %s", harness.Tail(strings.Join(others, "\n")))
}

// writeScript writes a script of pgbench: its variables, then the statement.
func writeScript(dir, name, variables, statement string) (string, error) {
	path := filepath.Join(dir, name+".pgbench")
	return path, os.WriteFile(path, []byte(strings.TrimSpace(variables)+"\n"+statement), 0o600)
}
