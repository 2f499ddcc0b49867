package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

var (
	processorName = regexp.MustCompile(`(?m)^model name\s*: (.*)$`)
	memoryTotal   = regexp.MustCompile(`MemTotal:\s+(\d+) kB`)
)

// machine describes the hardware and software of this run.
func (b *bench) machine(ctx context.Context) (string, error) {
	conn, err := pgx.Connect(ctx, b.url())
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	var version, fsync, commit string
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')").
		Scan(&version, &fsync, &commit); err != nil {
		return "", err
	}
	indexes, err := listSearchIndexes(ctx, conn)
	if err != nil {
		return "", err
	}
	search := "none"
	if len(indexes) > 0 {
		search = indexes[0].Name
	}
	// Unreadable files yield "unknown".
	processors, _ := os.ReadFile("/proc/cpuinfo")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	memory, _ := os.ReadFile("/proc/meminfo")
	return fmt.Sprintf("%d cores (%s), %d GB of memory, Linux %s; PostgreSQL %s, fsync %s, synchronous_commit %s; %s; search index over messages: %s",
		runtime.NumCPU(), firstMatch(processorName, processors), gigabytes(firstMatch(memoryTotal, memory)), strings.TrimSpace(string(kernel)),
		strings.Fields(version)[0], fsync, commit, runtime.Version(), search), nil
}

func firstMatch(pattern *regexp.Regexp, content []byte) string {
	if match := pattern.FindSubmatch(content); match != nil {
		return string(match[1])
	}
	return "unknown"
}

func gigabytes(kilobytes string) int {
	count, _ := strconv.Atoi(kilobytes) // "unknown" is 0
	return (count + 1<<19) >> 20
}
