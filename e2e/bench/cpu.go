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

// tick is the unit of /proc/<pid>/stat on every Linux that Go runs on.
const tick = time.Second / 100

// cpuOf is the CPU time that a process and its children have used so far, those
// that have ended among them.
func cpuOf(pid int) (time.Duration, error) {
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	all := map[int]stat{}
	for _, path := range paths {
		one, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			return 0, err
		}
		if found, err := readStat(one); err == nil { // else it has just ended
			all[one] = found
		}
	}
	if _, ok := all[pid]; !ok {
		return 0, fmt.Errorf("the process %d has ended", pid)
	}
	return tree(all, pid), nil
}

func tree(all map[int]stat, pid int) time.Duration {
	total := all[pid].used + all[pid].waitedFor
	for child, found := range all {
		if found.parent == pid {
			total += tree(all, child)
		}
	}
	return total
}

// stat is what is used of /proc/<pid>/stat (proc(5)).
type stat struct {
	parent          int
	used, waitedFor time.Duration
}

func readStat(pid int) (stat, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The name, in parentheses, may hold anything.
	text := string(content)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var numbers [5]int64
	var errs []error
	for i, field := range []int{1, 11, 12, 13, 14} { // ppid, utime, stime, cutime, cstime
		numbers[i], err = strconv.ParseInt(fields[field], 10, 64)
		errs = append(errs, err)
	}
	return stat{
		parent:    int(numbers[0]),
		used:      time.Duration(numbers[1]+numbers[2]) * tick,
		waitedFor: time.Duration(numbers[3]+numbers[4]) * tick,
	}, errors.Join(errs...)
}

// cost is the CPU time of the two that serve.
type cost struct{ server, postgres time.Duration }

// cost measures what fn costs the server, which may be nil, and PostgreSQL.
func (s *stack) cost(server *harness.Process, fn func() error) (cost, error) {
	before, err := s.used(server)
	if err != nil {
		return cost{}, err
	}
	if err := fn(); err != nil {
		return cost{}, err
	}
	after, err := s.used(server)
	return cost{after.server - before.server, after.postgres - before.postgres}, err
}

func (s *stack) used(server *harness.Process) (used cost, err error) {
	if server != nil {
		if used.server, err = cpuOf(server.Pid()); err != nil {
			return used, err
		}
	}
	used.postgres, err = cpuOf(s.postgres.Pid())
	return used, err
}
