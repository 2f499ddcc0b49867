package main

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// memoryShare and memoryShareWithPostgres are how much of the memory of its cgroup the Go runtime may
// use before it collects garbage more often. The rest is for goroutine stacks of the kernel, buffers and,
// if it runs here too, PostgreSQL.
const (
	memoryShare             = 0.8
	memoryShareWithPostgres = 0.5
)

// memoryLimit returns the limit for the Go runtime that follows from that of the cgroup, or 0 if there is
// none. GOMEMLIMIT takes precedence: then it also returns 0. root is the root directory.
func memoryLimit(root fs.FS, env environment, config config) int64 {
	if env["GOMEMLIMIT"] != "" {
		return 0
	}
	limit := cgroupLimit(root)
	if limit == math.MaxInt64 {
		return 0
	}
	share := memoryShare
	if config.DatabaseURL == "" {
		share = memoryShareWithPostgres
	}
	return int64(float64(limit) * share)
}

// cgroupLimit returns the smallest memory limit of the cgroups of this process, in bytes, or MaxInt64.
func cgroupLimit(root fs.FS) int64 {
	limit := readLimit(root, "sys/fs/cgroup/memory/memory.limit_in_bytes") // version 1, in a container
	membership, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(membership)) {
		group, isV2 := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !isV2 {
			continue
		}
		for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
			limit = min(limit, readLimit(root, path.Join("sys/fs/cgroup", dir, "memory.max")))
			if dir == "/" {
				break
			}
		}
	}
	return limit
}

// unlimited is the smallest value with which version 1 says that there is no limit.
const unlimited = 1 << 62

func readLimit(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return math.MaxInt64
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || limit <= 0 || limit >= unlimited { // "max" in version 2
		return math.MaxInt64
	}
	return limit
}
