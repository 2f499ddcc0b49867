package dbtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// prefix is the prefix of directory names. The process ID of the owner follows.
const prefix = "parley-dbtest-"

// memoryDir is a file system in memory on Linux.
const memoryDir = "/dev/shm"

// makeDir creates the directory of this process's server, and removes the directories of processes
// that ended without doing so.
func makeDir() (string, error) {
	pattern := prefix + strconv.Itoa(os.Getpid()) + "-*"
	parent := memoryDir
	dir, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		parent = os.TempDir()
		dir, err = os.MkdirTemp(parent, pattern)
	}
	if err != nil {
		return "", fmt.Errorf("create a directory for PostgreSQL: %w", err)
	}
	removeStale(parent)
	// When the tests run as root, the server runs as another user, who needs access.
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the directory of PostgreSQL accessible: %w", err)
	}
	return dir, nil
}

// removeStale removes the directories of processes that have ended. It ignores errors: a directory
// may belong to another user, and the next run tries again.
func removeStale(parent string) {
	found, _ := filepath.Glob(filepath.Join(parent, prefix+"*")) // the pattern is well-formed
	for _, dir := range found {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		pid, err := strconv.Atoi(owner)
		if err == nil && pid > 0 && hasEnded(pid) {
			remove(dir)
		}
	}
}

// remove retries, because a server that is shutting down may still write files.
func remove(dir string) {
	for range 5 {
		if os.RemoveAll(dir) == nil {
			return
		}
	}
}

// hasEnded reports whether no process has this ID, of any user.
func hasEnded(pid int) bool {
	process, err := os.FindProcess(pid)
	return err == nil && errors.Is(process.Signal(syscall.Signal(0)), os.ErrProcessDone)
}
