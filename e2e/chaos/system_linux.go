package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// processAttributes puts a process into a separate group, which the terminal's Ctrl-C does not reach, and has the
// kernel kill it when this program dies.
func processAttributes(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT, Credential: owner}
}

// mountTmpfs mounts a file system of the given size over a directory.
func mountTmpfs(dir string, megabytes int) (unmount func() error, err error) {
	if err := unix.Mount("chaos", dir, "tmpfs", 0, "mode=0755,size="+strconv.Itoa(megabytes)+"m"); err != nil {
		return nil, fmt.Errorf("%w: cannot mount a small file system: %w", errNotRun, err)
	}
	return func() error { return unix.Unmount(dir, 0) }, nil
}

// fillDisk fills the file system of a directory to the last byte. free removes what it wrote.
func fillDisk(dir string) (free func() error, err error) {
	path := filepath.Join(dir, "ballast")
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := file.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	return func() error { return os.Remove(path) }, nil
}

// limitFiles changes the limit of file descriptors of a running process. restore resets it.
func limitFiles(pid int, limit uint64) (restore func() error, err error) {
	var old unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		return nil, err
	}
	changed := old
	changed.Cur = limit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &changed, nil); err != nil {
		return nil, err
	}
	return func() error { return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &old, nil) }, nil
}
