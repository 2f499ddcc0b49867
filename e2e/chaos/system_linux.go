package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes keep the terminal's Ctrl-C from a program, and have the kernel end it with us.
func attributes(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT, Credential: owner}
}

// mountMemory puts a file system of so many megabytes, in memory, over a directory.
func mountMemory(dir string, megabytes int) (unmount func() error, err error) {
	if err := unix.Mount("faults", dir, "tmpfs", 0, "mode=0755,size="+strconv.Itoa(megabytes)+"m"); err != nil {
		return nil, fmt.Errorf("%w: a small file system cannot be mounted: %w", errNotRun, err)
	}
	return func() error { return unix.Unmount(dir, 0) }, nil
}

// fill leaves no room in a directory's file system; what it returns gives it back.
func fill(dir string) (empty func() error, err error) {
	path := filepath.Join(dir, "ballast")
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := file.Write(block); err != nil {
			block = block[:len(block)/2] // until not a single byte goes in
		}
	}
	return func() error { return os.Remove(path) }, nil
}

// limitFiles changes how many descriptors a process may have; what it returns gives it
// back what it had.
func limitFiles(pid int, limit uint64) (restore func() error, err error) {
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return nil, err
	}
	next := before
	next.Cur = limit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &next, nil); err != nil {
		return nil, err
	}
	return func() error { return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil) }, nil
}
