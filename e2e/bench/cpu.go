package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"parley/e2e/harness"
)

// clockTick is the unit of times in /proc/<pid>/stat: sysconf(_SC_CLK_TCK) is 100 on every Linux
// that Go supports.
const clockTick = time.Second / 100

// processTreeCPU returns the CPU time that a process and its descendants have used so far,
// including those that have exited.
func processTreeCPU(pid int) (time.Duration, error) {
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	stats := map[int]processStat{}
	for _, path := range paths {
		candidate, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			return 0, err
		}
		if stat, err := readStat(candidate); err == nil { // otherwise the process has just exited
			stats[candidate] = stat
		}
	}
	if _, ok := stats[pid]; !ok {
		return 0, fmt.Errorf("process %d has exited", pid)
	}
	return sumTree(stats, pid), nil
}

func sumTree(stats map[int]processStat, pid int) time.Duration {
	total := stats[pid].own + stats[pid].children
	for child, stat := range stats {
		if stat.parent == pid {
			total += sumTree(stats, child)
		}
	}
	return total
}

// processStat is a part of /proc/<pid>/stat (proc(5)).
type processStat struct {
	parent        int
	own, children time.Duration // children: those that were waited for
}

func readStat(pid int) (processStat, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processStat{}, err
	}
	// The name, in parentheses, may contain spaces and parentheses.
	text := string(content)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 15 {
		return processStat{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var numbers [5]int64
	var errs []error
	for i, field := range []int{1, 11, 12, 13, 14} { // ppid, utime, stime, cutime, cstime
		numbers[i], err = strconv.ParseInt(fields[field], 10, 64)
		errs = append(errs, err)
	}
	return processStat{
		parent:   int(numbers[0]),
		own:      time.Duration(numbers[1]+numbers[2]) * clockTick,
		children: time.Duration(numbers[3]+numbers[4]) * clockTick,
	}, errors.Join(errs...)
}

// cpuTime is the CPU time of a server and of PostgreSQL.
type cpuTime struct{ server, postgres time.Duration }

// measureCPU runs fn and returns the CPU time that the server and PostgreSQL used meanwhile.
func (s *stack) measureCPU(server *harness.Process, fn func() error) (cpuTime, error) {
	before, err := s.cpuTime(server)
	if err != nil {
		return cpuTime{}, err
	}
	if err := fn(); err != nil {
		return cpuTime{}, err
	}
	after, err := s.cpuTime(server)
	return cpuTime{after.server - before.server, after.postgres - before.postgres}, err
}

// cpuTime returns the CPU time used so far. The server may be nil.
func (s *stack) cpuTime(server *harness.Process) (used cpuTime, err error) {
	if server != nil {
		if used.server, err = processTreeCPU(server.Pid()); err != nil {
			return used, err
		}
	}
	used.postgres, err = processTreeCPU(s.postgres.Pid())
	return used, err
}
