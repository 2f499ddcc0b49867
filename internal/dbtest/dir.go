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

// prefix begins the names of the directories; the pid of their process follows.
const prefix = "parley-dbtest-"

// memory is a file system in memory, on Linux.
const memory = "/dev/shm"

// makeDir makes the directory of this process's server, and removes those of
// processes that died without doing so.
func makeDir() (string, error) {
	pattern := prefix + strconv.Itoa(os.Getpid()) + "-*"
	parent := memory
	dir, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		parent = os.TempDir()
		dir, err = os.MkdirTemp(parent, pattern)
	}
	if err != nil {
		return "", fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	sweep(parent)
	// As root the server runs as another user, who must get in.
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", fmt.Errorf("open the directory of PostgreSQL: %w", err)
	}
	return dir, nil
}

// sweep removes the directories of processes that are gone. What it cannot remove
// belongs to somebody else, or is left to the next run.
func sweep(parent string) {
	found, _ := filepath.Glob(filepath.Join(parent, prefix+"*")) // its only error is a malformed pattern
	for _, dir := range found {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		pid, err := strconv.Atoi(owner)
		if err == nil && pid > 0 && gone(pid) {
			remove(dir)
		}
	}
}

// remove tries again when it is not alone: a server that is about to follow its
// process may write a last file.
func remove(dir string) {
	for range 5 {
		if os.RemoveAll(dir) == nil {
			return
		}
	}
}

// gone tells whether there is no process with this pid, not even somebody else's.
func gone(pid int) bool {
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
